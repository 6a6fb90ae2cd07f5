"""The server as a Twisted service, and the ``twistd chatserver`` plugin."""
