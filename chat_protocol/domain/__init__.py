"""Users, sessions, delivery and the exchange between sockets and store. Knows no transport."""
