"""Bytes and sockets: framing, output, polling. The client uses it too."""
