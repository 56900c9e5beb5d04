"""The way out of the workshop: trained networks become ONNX files, and these a bundle for a station."""

import os

# What is done with a laboratory's pictures is nobody else's: ONNX Runtime's wheels report to their makers,
# and keep a file about it at home, unless they are told before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
