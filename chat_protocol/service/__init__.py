"""A server as a Twisted service, and its twistd plugin."""
