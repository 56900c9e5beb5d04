"""The cell classifier: what a white cell in its box is called, and how far that can be trusted."""
