"""A station looked over before it is trusted: each part in a line, with what to do about it."""
