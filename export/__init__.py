"""The way out of the workshop: trained networks become ONNX files, and these a bundle for a station."""
