"""What chatadmin does with a SQLite file."""
