"""Whether the replica, where there is one, is a standby of the database."""

from quotes import addresses
from quotes.database import connections
from quotes.database.errors import DatabaseError, translated
from quotes.database.maintenance import diagnosis
from quotes.database.maintenance.diagnosis import Cluster
from quotes.database.replica import VARIABLE
from quotes.local.doctor.findings import Finding, failed, ok, warning
from quotes.settings import Settings, SettingsError

_REMEDY = (
    f"Let {VARIABLE} lead to a standby of the primary, or leave it out: until then everything is "
    "read from the primary."
)
_FEEDBACK = "Set hot_standby_feedback = on in its configuration, and reload it."


async def examine(settings: Settings) -> list[Finding]:
    if settings.replica_url is None:
        return []
    url = settings.replica_url.get_secret_value()
    where = addresses.shown(url)
    try:
        with translated():
            standby = await diagnosis.cluster(
                connections.connector(url, name="doctor", variable=VARIABLE)
            )
    except SettingsError as error:
        return [failed("replica", str(error), "Correct what it names.")]
    except DatabaseError as error:
        return [failed("replica", f"The server at {where} cannot be used: {error}.", _REMEDY)]
    try:
        with translated():
            primary = await diagnosis.cluster(
                connections.connector(settings.require_database_url(), name="doctor")
            )
    except (DatabaseError, SettingsError):
        return []  # there is nothing to compare with, as the check of the database says
    return [_compared(standby, primary, where)]


def _compared(standby: Cluster, primary: Cluster, where: str) -> Finding:
    if not standby.in_recovery:
        text = f"The server at {where} is no standby: it accepts writes of its own."
        return failed("replica", text, _REMEDY)
    if standby.identifier != primary.identifier:
        return failed("replica", f"The server at {where} is a standby of another one.", _REMEDY)
    text = f"The server at {where} is a standby of the database's"
    if not standby.feedback:
        text = f"{text}, which cancels queries of rows that are vacuumed there."
        return warning("replica", text, _FEEDBACK)
    return ok("replica", f"{text}.")
