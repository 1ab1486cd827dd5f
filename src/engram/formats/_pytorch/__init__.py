"""What PyTorch writes, taken apart and put together without PyTorch."""
