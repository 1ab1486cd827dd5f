"""Weights as blobs: how tensors are written, found, read in part, and filled into what is there already."""
