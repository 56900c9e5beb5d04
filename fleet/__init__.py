"""The laboratory's side: takes what stations publish, keeps it once, and tells them that it is kept."""
