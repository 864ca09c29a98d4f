"""The live stream: the feed that reads the log, and the fan-out to its subscribers."""
