"""A field in, cells out; the slide session and its differential. Pure: no I/O, no clock of its own."""
