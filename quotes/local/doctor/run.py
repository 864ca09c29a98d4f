"""The command `quotes doctor`."""

import asyncio

from quotes.local.doctor import database, exchange, machine, replica
from quotes.local.doctor.findings import Finding, State
from quotes.server.pages import Site
from quotes.settings import FAILED, Settings

_WIDTHS = (8, 11)  # of the columns of states and checks


async def examine(settings: Settings) -> list[Finding]:
    """What all checks find."""
    return [
        *await database.examine(settings),
        *await replica.examine(settings),
        machine.queue(settings),
        *await exchange.examine(settings),
        *([machine.disk(settings)] if settings.data_dir.exists() else []),
        machine.names(settings),
        machine.page(Site()),
    ]


def run(settings: Settings) -> int:
    """Print what all checks find; the exit status."""
    findings = asyncio.run(examine(settings))
    states, checks = _WIDTHS
    for each in findings:
        print(f"{each.state:<{states}} {each.check:<{checks}} {each.text}")
        if each.remedy:
            print(f"{'':<{states}} {'':<{checks}} -> {each.remedy}")
    return FAILED if any(each.state is State.FAILED for each in findings) else 0
