"""The workshop: reads labelled pictures, trains the networks, measures them, keeps runs."""
