"""Queries of the past: candles, gaps, series, and the price at a moment."""
