"""Durable records on their way out: on disk first, deleted when the far end has committed them."""
