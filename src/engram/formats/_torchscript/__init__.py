"""TorchScript: a zip with Python-like code, constants, and the module's attributes as a pickle."""
