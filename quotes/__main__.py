"""`python -m quotes` is `quotes`."""

from quotes.cli import app

app(prog_name="quotes")
