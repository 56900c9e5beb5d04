"""Sources of frames behind one protocol; a file per source."""
