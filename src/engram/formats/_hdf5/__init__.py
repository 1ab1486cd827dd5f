"""HDF5, as far as programs that keep weights in it use it."""
