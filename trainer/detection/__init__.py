"""The detector: finds white cells, red cells and platelets in a field."""
