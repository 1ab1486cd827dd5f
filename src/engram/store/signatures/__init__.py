"""Who vouches for a version: keys, signatures in the OpenSSF form, and what a store demands of them."""
