"""TradingView's UDF protocol: what its charting library, and others', read symbols and bars by."""
