"""Blobs that are stored as differences from others, and bringing them into that form and back."""
