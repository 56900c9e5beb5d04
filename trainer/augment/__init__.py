"""Random changes of pictures: stain, light, optics. uint8 RGB in, uint8 RGB of the same shape out."""
