"""Files of a ticker's quotes: their periods, their formats, and their bytes."""
