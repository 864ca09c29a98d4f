"""The last day of many tickers in a few points each: what a list of them shows."""

from datetime import timedelta
from math import ceil
from typing import Annotated

import strawberry

from quotes.api.context import Info, SomeTickers, chosen
from quotes.api.errors import bad_input
from quotes.api.history.price_at import DAY, patience
from quotes.api.scalars import Ticker, Timestamp
from quotes.database.queries import sparklines
from quotes.market.coverage import HOUR

FEWEST, MOST = 2, 200  # points of one ticker
USUAL = 54  # so that each hour of a day has its own


@strawberry.type(
    description=(
        "A ticker's last hours in a few points, for a small chart: the n-th price is that of the "
        "n-th time. The last is the newest quote. The first is the newest that is at least a "
        "window older, as `change` has it as its `base`, or a younger one where there is none. "
        "Between them are the highest and the lowest of each hour or, in a long window, of "
        "several."
    )
)
class Sparkline:
    ticker: Ticker = strawberry.field(description="The exchange's index name, lower case.")
    times: list[Timestamp] = strawberry.field(
        description="The quotes' minutes in UNIX seconds, oldest first."
    )
    prices: list[str] = strawberry.field(description="The prices, exact; one for each of `times`.")


@strawberry.type
class SparklineQuery:
    @strawberry.field(
        description=(
            "The last day of each ticker that has a quote, in the order of their names: for a list "
            "of small charts, or with two points for how far each has moved."
        )
    )
    async def sparklines(
        self,
        info: Info,
        tickers: SomeTickers = None,
        window: Annotated[
            timedelta | None,
            strawberry.argument(description="From when on, as `1h`, `24h` or `7d`."),
        ] = DAY,
        points: Annotated[
            int | None,
            strawberry.argument(
                description=f"At most so many of each ticker, {FEWEST} to {MOST}; below 6 it is 2."
            ),
        ] = USUAL,
    ) -> list[Sparkline]:
        window = window or DAY
        points = USUAL if points is None else points
        if not FEWEST <= points <= MOST:
            raise bad_input(f"`points` is {FEWEST} to {MOST}; {points:,} were requested.")
        names = await chosen(info.context, tickers)
        async with info.context.sessions() as session:
            lines = await sparklines.read(
                session,
                names,
                window=window,
                patience=patience(window),
                hours=hours(window, points),
            )
        return [
            Sparkline(ticker=Ticker(name), times=[Timestamp(each) for each in times], prices=prices)
            for name, times, prices in lines
        ]


def hours(window: timedelta, points: int) -> int:
    """How many share their highest and lowest, so that there are no more points; 0 is none.

    The window's hours may be one more than it is long, and its parts one more than fit.
    """
    parts = (points - 2) // 2
    return ceil((window / HOUR + 1) / (parts - 1)) if parts > 1 else 0
