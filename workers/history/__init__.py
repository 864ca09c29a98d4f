"""Fetches the past: charts of earlier days, and minutes that were missed."""
