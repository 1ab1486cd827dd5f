"""The machinery behind ``runtime.torch``: operators of ONNX in torch, and modules of torch as graphs."""
