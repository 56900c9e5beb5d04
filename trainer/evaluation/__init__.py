"""What a network's answers for pictures it has not seen are worth."""
