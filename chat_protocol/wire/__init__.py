"""The wire format: types, commands and frames. Does not import Twisted."""
