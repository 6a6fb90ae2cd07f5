"""What chatadmin does with a PostgreSQL database."""
