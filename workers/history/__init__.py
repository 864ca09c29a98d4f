"""The past: fetched from charts, filled in where minutes were missed, compacted, and dropped."""
