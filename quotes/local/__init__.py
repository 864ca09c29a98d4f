"""Everything on one machine: `quotes up`, and the servers and processes that it runs."""
