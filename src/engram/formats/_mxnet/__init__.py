"""MXNet's two files: the arrays, the symbol, and how its operators become those of ONNX."""
