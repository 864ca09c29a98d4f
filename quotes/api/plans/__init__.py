"""Documents that are compiled once: which rows, which columns, and how they become bytes."""
