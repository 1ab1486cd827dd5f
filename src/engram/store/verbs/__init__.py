"""What a store can do, one file a noun; ``store.Store`` puts them together."""
