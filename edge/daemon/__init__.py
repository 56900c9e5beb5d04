"""The running station's parts: each a thread or what threads share, none waiting for another's I/O."""
