"""Keras' own description of a network, its weights and its training, read and written without Keras."""
