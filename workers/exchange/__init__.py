"""The exchange: its client, what its answers mean, its clock, and how fast it may be queried."""
