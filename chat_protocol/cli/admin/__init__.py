"""The program ``chatadmin``, which maintains a server's data."""
