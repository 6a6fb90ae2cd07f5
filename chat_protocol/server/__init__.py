"""The protocol on Twisted: framing, one connection's life, the factory with the handlers."""
