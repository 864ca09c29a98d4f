"""What bounds strangers: connections, budgets, admission of queries, the Host header."""
