"""Networks of the kinds that people keep, made and trained in the programs they come from."""
