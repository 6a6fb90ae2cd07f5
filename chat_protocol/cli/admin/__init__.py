"""The program for whoever looks after a server's data: ``chatadmin``."""
