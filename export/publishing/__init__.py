"""Signing bundles, and publishing them to stations: over the network, or on a stick."""
