"""The store in PostgreSQL, shared by the nodes of a cluster."""
