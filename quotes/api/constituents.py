"""What an index is made of just now, and how far that is apart."""

from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal, localcontext
from typing import Self

import strawberry

from quotes.api.context import Info, TickerArgument, require_known
from quotes.database import constituents
from quotes.database.constituents import Known
from quotes.market.constituents import DIGITS, KNOWN_FOR, LEAST, Constituent, newest

PERCENT = Decimal("0.0001")  # the last digit shown
MILLISECOND = timedelta(milliseconds=1)


@strawberry.type(
    description=(
        "How far the exchanges that an index is made of are apart: the less, the surer its price. "
        f"It is known only while the prices of {LEAST} exchanges or more are in use, none of these "
        f"is missing, and the newest is at most {KNOWN_FOR.seconds} seconds old."
    )
)
class Confidence:
    spread: str = strawberry.field(
        description="The highest less the lowest price in use, exact, in the price's unit."
    )
    percent: str = strawberry.field(
        description="`spread` in percent of the median price in use, rounded up to 4 decimals."
    )
    exchanges: int = strawberry.field(description="How many prices are in use.")
    age_seconds: float = strawberry.field(
        description=(
            "Seconds from when the newest of them was made to this answer, to the millisecond."
        )
    )

    @classmethod
    def of(cls, minute: datetime | None, known: Known | None) -> Self | None:
        """The widest since the minute; with None that of now alone."""
        if known is None or known.age > KNOWN_FOR:
            return None
        found = known.spreads.current if minute is None else known.spreads.since(minute)
        if found is None:
            return None
        with localcontext(prec=DIGITS):
            percent = found.percent.quantize(PERCENT, ROUND_UP)
        return cls(
            spread=format(found.absolute, "f"),
            percent=format(percent, "f"),
            exchanges=found.exchanges,
            age_seconds=_seconds(known.age),
        )


@strawberry.type(name="Constituent", description="One exchange's part in an index.")
class ConstituentType:
    exchange: str = strawberry.field(description="The exchange's name, as `kraken`.")
    price: str | None = strawberry.field(
        description="The price that was taken, exact, in the index's unit; null if there is none."
    )
    original_price: str | None = strawberry.field(
        description="The price that the exchange had, exact; null if there is none."
    )
    weight: str | None = strawberry.field(
        description="Its weight in percent, exact; those in use add up to 100, or nearly so."
    )
    observed_at: datetime | None = strawberry.field(
        description="When that price was made, by the index's own clock; null if it is not known."
    )
    used: bool = strawberry.field(description="Whether the index is made with it.")

    @classmethod
    def of(cls, constituent: Constituent) -> Self:
        return cls(
            exchange=constituent.exchange,
            price=_plain(constituent.price),
            original_price=_plain(constituent.original_price),
            weight=_plain(constituent.weight),
            observed_at=constituent.observed_at,
            used=constituent.used,
        )


@strawberry.type(description="The exchanges that an index is made of, as last heard of.")
class Constituents:
    nodes: list[ConstituentType] = strawberry.field(
        description="The exchanges, in the order of the source; those left out, too."
    )
    observed_at: datetime | None = strawberry.field(
        description="When the newest of the prices in use was made; null where none is in use."
    )
    age_seconds: float = strawberry.field(
        description=(
            "Seconds from then to this answer, to the millisecond; where no price is in use, since "
            "this was heard."
        )
    )
    confidence: Confidence | None = strawberry.field(description="How far their prices are apart.")

    @classmethod
    def of(cls, known: Known) -> Self:
        return cls(
            nodes=[ConstituentType.of(each) for each in known.constituents],
            observed_at=newest(known.constituents),
            age_seconds=_seconds(known.age),
            confidence=Confidence.of(None, known),
        )


@strawberry.type
class ConstituentQuery:
    @strawberry.field(
        description=(
            "The exchanges that a ticker's index is made of just now. Null where that is not "
            "known: while no worker holds the exchange's WebSocket, for an index of which it "
            f"reports nothing, and as soon as nothing was heard for {KNOWN_FOR.seconds} seconds."
        )
    )
    async def constituents(self, info: Info, ticker: TickerArgument) -> Constituents | None:
        known = await constituents.of(info.context.queries, ticker)
        if known is None:
            await require_known(info.context, [ticker])
            return None
        return Constituents.of(known)


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else format(number, "f")


def _seconds(age: timedelta) -> float:
    return max(age + MILLISECOND / 2, timedelta()) // MILLISECOND / 1_000
