"""What GraphQL queries read: newest quotes, pages, candles, gaps, series."""
