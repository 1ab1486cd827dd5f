"""How aliases move: the log of all moves, what a rollback leads to, and the gates in front of some."""
