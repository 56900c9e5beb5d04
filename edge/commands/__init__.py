"""The station's commands that have several of their own, a file each."""
