"""Readers of labelled pictures, a layout a file: each gives samples, and names all that is wrong."""
