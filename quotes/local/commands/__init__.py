"""What `quotes export`, `forget`, `rebuild`, `queue` and `token` do."""
