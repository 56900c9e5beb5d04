"""Training pictures: decoded once, changed at random, put into batches."""
