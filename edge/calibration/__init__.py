"""What a station measured once of its objective: scale, light and sharpness; and frames corrected by it."""
