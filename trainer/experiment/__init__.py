"""A recipe on a collection: what is told apart, who is held out, and the paper's table beside ours."""
