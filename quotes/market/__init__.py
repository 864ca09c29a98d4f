"""What a price is, without I/O: tickers, sources, intervals, coverage."""
