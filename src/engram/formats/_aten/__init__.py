"""What torch's operators (ATen) are in ONNX: one table for every file in which torch keeps a graph of them."""
