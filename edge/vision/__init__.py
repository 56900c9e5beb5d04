"""Pure functions on pixels: what a frame is worth, where it lies, how a cell is cut from it."""
