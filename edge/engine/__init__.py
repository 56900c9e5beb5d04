"""Runs a bundle's networks behind one protocol; a file per runtime."""
