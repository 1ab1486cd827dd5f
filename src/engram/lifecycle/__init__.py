"""The order of things: what each verb of Engram does, from its first step to its last. No verb knows a terminal."""
