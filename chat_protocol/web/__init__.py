"""The web page, and the protocol over WebSocket, on the endpoints of the server."""
