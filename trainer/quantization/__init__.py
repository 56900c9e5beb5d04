"""INT8 for trained networks: after the training, or with a last part of it; and what that costs."""
