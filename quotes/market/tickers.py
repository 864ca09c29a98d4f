"""Parsing tickers: Deribit's index names, lower case, `btc_usd`.

Names are data, not an enum: the exchange's lists hold hundreds and change weekly. Some start with
a digit (`1000shib_usdc`), some hold a hyphen (`drbfix-btc_usdc`); the longest seen has 15
characters.
"""

import re

MAX_LENGTH = 32
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)?_[a-z0-9]+")
ALL = {"all", "*"}  # no currency has such a name
_CURRENCY = re.compile(r"[a-z0-9]+")


def parse(text: str) -> str:
    """The canonical ticker: case is ignored, and a bare currency means its USD index.

    Raises ValueError, with a sentence for the user, if this cannot be a ticker.
    """
    name = text.strip().lower()
    if name in ALL:
        raise ValueError(f"{name} is not a ticker: name each, as btc_usd,eth_usd")
    if len(name) <= MAX_LENGTH:
        if _NAME.fullmatch(name):
            return name
        if _CURRENCY.fullmatch(name):
            return f"{name}_usd"
    shown = text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + "..."
    raise ValueError(
        f"{shown!r} is not a ticker; write it as base_quote (btc_usd) or as a currency (BTC), "
        f"with at most {MAX_LENGTH} characters"
    )
