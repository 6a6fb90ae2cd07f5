"""The terminal client ``chatclient`` and the maintenance program ``chatadmin``."""
