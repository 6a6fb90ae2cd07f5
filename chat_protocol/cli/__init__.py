"""``chatclient``, the terminal client: the only place, with the server's tap, that names argv."""
