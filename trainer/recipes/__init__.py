"""Recipes: everything that decides what a training gives, but its data; one file each."""
