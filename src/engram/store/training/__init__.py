"""Runs and their checkpoints: saving while training goes on, holding, and going on from there."""
