"""What versions have to do with each other: ancestry, differences, and their pictures."""
