"""Whether the database is one that this service can use, and whether quotes arrive in it."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel.ext.asyncio.session import AsyncSession

from quotes import addresses
from quotes.api.freshness import part_problem
from quotes.database import connections, heartbeats
from quotes.database.collected import Collected
from quotes.database.errors import DatabaseError, translated
from quotes.database.log import retention, store
from quotes.database.maintenance import diagnosis, migrations, revisions
from quotes.database.models import Part
from quotes.database.sessions import Sessions, open_engine
from quotes.local.doctor.findings import Finding, failed, ok, warning
from quotes.market.staleness import STALE_AFTER
from quotes.settings import Settings, SettingsError

_URL = "Start it, or correct QUOTES_DATABASE_URL: it names the primary, its user and its password."
_POOLER = (
    "Let QUOTES_DATABASE_URL lead to PostgreSQL itself, usually at port 5432, or to a pool in "
    "session mode that ignores the start parameters it does not know (PgBouncer's "
    "ignore_startup_parameters)."
)
_UNKNOWN_PARAMETER = "unsupported startup parameter"  # how PgBouncer refuses ours


async def examine(settings: Settings) -> list[Finding]:
    url = settings.require_database_url()
    where = addresses.shown(url)
    try:
        with translated():
            if not await diagnosis.notifies(connections.connector(url, name="doctor")):
                text = f"{where} is a pooler that gives each transaction another connection."
                return [failed("listen", f"Notifications do not arrive: {text}", _POOLER)]
            async with open_engine(url, name="doctor", size=1) as engine:
                return await _examine(engine, settings, where)
    except (connections.UnsupportedServerError, SettingsError) as error:
        return [failed("database", str(error), "Correct what it names.")]
    except DatabaseError as error:
        text = f"The database at {where} cannot be used: {error}."
        pooled = _UNKNOWN_PARAMETER in str(error)
        return [failed("database", text, f"It is a pooler. {_POOLER}" if pooled else _URL)]


async def _examine(engine: AsyncEngine, settings: Settings, where: str) -> list[Finding]:
    sessions = Sessions(engine)
    async with sessions() as session:
        server = await diagnosis.server(session)
    connections.require_supported(server.major)
    migrated = _migrations(await migrations.current(engine))
    found = [
        ok("database", f"PostgreSQL {server.major} at {where}; the database has {server.size}."),
        ok("listen", "Notifications arrive."),
        _encoding(server.encoding),
        migrated,
    ]
    if migrated.remedy:  # there may be no tables to read
        return found
    collected = Collected(settings.selection, sessions)
    await collected.read()
    async with sessions() as session:
        beats = await heartbeats.last(session)
        newest = await store.newest(session, collected.in_order)
        kept = await _retention(session, settings.keep_months)
    return [
        *found,
        *(_part(part, part_problem(part, beats.get(part))) for part in Part),
        _tickers(collected),
        _prices(max((quote.observed_at for quote in newest), default=None)),
        kept,
    ]


def _encoding(encoding: str) -> Finding:
    if encoding == "UTF8":
        return ok("encoding", "The database is in UTF-8.")
    text = f"The database is in {encoding}, which cannot hold every text."
    remedy = "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8', and restore a dump into it."
    return failed("encoding", text, remedy)


def _migrations(revision: str) -> Finding:
    head = revisions.head()
    if revision == head:
        return ok("migrations", f"The tables are this release's ({head}).")
    text = f"The tables are at revision {revision}; this release needs {head}."
    if revision in {migrations.NOTHING, *revisions.known()}:
        return failed("migrations", text, "Run `quotes migrate`.")
    remedy = f"Install the newer release, or migrate down with it (--revision {head})."
    return failed("migrations", text, remedy)


def _part(part: Part, problem: str | None) -> Finding:
    if problem is None:
        return ok(part, f"A {part} runs.")
    return failed(part, problem, f"Start `quotes {part}`; its log says what is wrong.")


def _tickers(collected: Collected) -> Finding:
    count = len(collected.tickers)
    text = f"QUOTES_TICKERS selects {count} ticker{'' if count == 1 else 's'}"
    if unmatched := collected.selection.unmatched(collected.tickers):
        text += (
            f"; of the exchange's list, as last received, nothing matches {', '.join(unmatched)}"
        )
        remedy = "Start `quotes worker`, which receives the list, or correct QUOTES_TICKERS."
        return warning("tickers", f"{text}.", remedy)
    return ok("tickers", f"{text}.")


async def _retention(session: AsyncSession, months: int | None) -> Finding:
    retired = await retention.retired_before(session)
    kept = (
        "All minutes are kept"
        if retired is None
        else f"Minutes from {retired:%Y-%m-%d} on are kept"
    )
    if months is None:
        return ok("retention", f"{kept}; none are removed.")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    if overdue := await retention.expired(session, retention.first_kept(yesterday, months)):
        text = f"{len(overdue)} partitions of minutes older than {months} months are still there."
        return failed("retention", text, "See the worker's log for `partition_in_use`.")
    return ok("retention", f"{kept}; older ones than {months} months are removed.")


def _prices(observed_at: datetime | None) -> Finding:
    remedy = "Correct what else has failed here; then see the worker's log."
    if observed_at is None:
        return failed("prices", "No price is stored yet.", remedy)
    text = f"The newest price is of {observed_at:%Y-%m-%d %H:%M:%S}Z"
    if datetime.now(UTC) - observed_at <= STALE_AFTER:
        return ok("prices", f"{text}.")
    return failed("prices", f"{text}: none has arrived since.", remedy)
