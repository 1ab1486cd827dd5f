"""TFLite files: the flatbuffer, its operators, and the way to ONNX and back."""
