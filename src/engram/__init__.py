"""Engram keeps what a neural network has learned, and looks after it for its whole life."""
