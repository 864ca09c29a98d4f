"""Whether the exchange can be reached, and how far its clock and this host's differ."""

from datetime import UTC, datetime, timedelta

import aiohttp

from quotes.local.doctor.findings import Finding, failed, ok, warning
from quotes.market.sources import LOG_THRESHOLD, MAX_COMPENSATED, host_of, is_loopback
from quotes.settings import Settings

TIMEOUT = aiohttp.ClientTimeout(total=10)
_REMEDY = (
    "Allow HTTPS to it, name a proxy in HTTPS_PROXY, or correct QUOTES_DERIBIT_URL, which ends in "
    "/api/v2. Without internet: `quotes up --demo`."
)
_SET_CLOCK = "Set this host's clock, as by NTP."


async def examine(settings: Settings) -> list[Finding]:
    url = settings.deribit_url
    before = datetime.now(UTC)
    try:
        theirs = await _time(url)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        reason = str(error) or "no answer in time"
        return [failed("exchange", f"{url} cannot be reached: {reason}.", _REMEDY)]
    except (ValueError, TypeError, KeyError, OverflowError):
        return [failed("exchange", f"{url} answers, but not as the exchange does.", _REMEDY)]
    half = (datetime.now(UTC) - before) / 2
    return [ok("exchange", f"{url} answers."), _clock(theirs - (before + half), half)]


async def _time(url: str) -> datetime:
    """The exchange's clock. As in a worker, a proxy of the environment is used, except locally."""
    trust = not is_loopback(host_of(url))
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT, trust_env=trust, raise_for_status=True) as http,
        http.get(f"{url}/public/get_time", allow_redirects=False) as answer,
    ):
        return datetime.fromtimestamp((await answer.json())["result"] / 1_000, UTC)


def _clock(ahead: timedelta, uncertainty: timedelta) -> Finding:
    """`ahead`: how far the exchange's clock is ahead of this host's."""
    seconds, word = abs(ahead).total_seconds(), "behind" if ahead > timedelta() else "ahead of"
    text = f"This host's clock is {seconds:.1f} seconds {word} the exchange's"
    if abs(ahead) - uncertainty > MAX_COMPENSATED:
        return failed("clock", f"{text}, which is too much: prices are refused.", _SET_CLOCK)
    if abs(ahead) - uncertainty >= LOG_THRESHOLD:
        return warning("clock", f"{text}, which is compensated for.", _SET_CLOCK)
    return ok("clock", f"{text}.")
