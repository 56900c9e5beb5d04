"""A reproduction's report: one page that carries everything in itself, and the same facts as JSON."""
