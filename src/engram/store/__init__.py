"""Where kept versions live."""
