"""Files of quotes over HTTP."""
