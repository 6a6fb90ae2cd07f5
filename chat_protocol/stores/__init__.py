"""Where messages are kept: one file for each kind of store, found by the registry."""
