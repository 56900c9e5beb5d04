"""Networks: built from a recipe, with colour model and normalisation inside, and their pretrained weights."""
