"""The page, and the protocol over WebSocket, on the ports of the server."""
