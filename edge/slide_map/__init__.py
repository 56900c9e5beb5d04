"""The slide map: where every field of a slide lies, what ground they cover, and which cell is which."""
