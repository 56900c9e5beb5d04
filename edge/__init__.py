"""The station: captures smear frames, finds and names white cells, publishes what it found."""
