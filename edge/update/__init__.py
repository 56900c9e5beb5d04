"""Signed bundles in; they prove themselves on this very station, or the station goes back by itself."""
