"""What operators and commands do to a database: migrate it, remove quotes, look at its state."""
