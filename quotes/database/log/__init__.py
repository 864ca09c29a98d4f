"""The quotes: stored and numbered in one transaction, read in the order of their numbers."""
