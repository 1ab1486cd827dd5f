"""Moving versions and runs from one store to another: what is chosen, what it needs, and how it arrives."""
