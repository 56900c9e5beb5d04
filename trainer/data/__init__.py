"""Readers of labelled pictures, and how they are split."""
