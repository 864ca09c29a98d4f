"""The dashboards of `docker compose --profile observe`: what they ask, and the files it mounts."""

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from paths import ROOT
from rows import failure, insert, minute, quote, record
from test_metrics import DOCUMENTED

from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.settings import Settings

FOLDER = ROOT / "docs/grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("dashboards/*.json")}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SECRET = "reads"  # noqa: S105  # of the tests alone

register_default_plugins()


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            yield panel


def lost(given: Any, kept: Any, path: str) -> Iterator[str]:
    """What of a document Grafana's own types do not have."""
    if isinstance(given, dict):
        for key, value in given.items():
            known = isinstance(kept, dict) and key in kept
            yield from lost(value, kept[key], f"{path}.{key}") if known else [f"{path}.{key}"]
    elif isinstance(given, list):
        for place, value in enumerate(given):
            yield from lost(value, kept[place], f"{path}[{place}]")
    elif given != kept:
        yield path


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafana_s_own_types_know_all_that_a_dashboard_says(name: str) -> None:
    dashboard = DASHBOARDS[name]
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))

    assert list(lost(dashboard, kept, name)) == []


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_say_what_they_show_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(DASHBOARDS[name]):
        assert panel["description"].endswith("."), panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def expressions() -> list[str]:
    service = panels(DASHBOARDS["service"])
    return [target["expr"] for panel in service for target in panel["targets"]]


def test_the_service_s_panels_show_all_documented_metrics_and_no_others() -> None:
    shown = set(re.findall(r"\b(?:quotes|process)_\w+", " ".join(expressions())))
    named = {re.sub("_(bucket|sum|count)$", "", name) for name in shown} - {
        "process_max_fds",
        "process_virtual_memory_bytes",
    }

    assert named <= DOCUMENTED
    assert DOCUMENTED - named == {
        "process_max_fds",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
        "quotes_fan_out_messages",
        "quotes_feed_listening",
        "quotes_queries_admitted_total",
        "quotes_queue_up",
        "quotes_scheduler_leads",
    }


def test_prometheus_takes_the_configuration_the_rules_and_each_panel_s_expression(
    tmp_path: Path,
) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed")
    for file in (FOLDER / "prometheus.yml", ROOT / "docs/prometheus/alerts.yml"):
        shutil.copy(file, tmp_path)
    rules = [
        {"record": f"panel:{number}", "expr": expr.replace("$__rate_interval", "1m")}
        for number, expr in enumerate(expressions())
    ]
    own = tmp_path / "panels.yml"
    own.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    for check in (["config", str(tmp_path / "prometheus.yml")], ["rules", str(own)]):
        done = subprocess.run(
            [promtool, "check", *check], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_compose_mounts_files_that_are_there_and_prometheus_asks_the_services_ports() -> None:
    services = COMPOSE["services"]
    mounted = [
        mount.split(":")[0]
        for service in services.values()
        for mount in service.get("volumes", ())
        if mount.startswith("./")
    ]
    assert len(mounted) == 6
    for path in mounted:
        assert (ROOT / path).exists(), path

    port = COMPOSE["x-quotes"]["environment"]["QUOTES_METRICS_PORT"]
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    asked = {name: each["port"] for each in job["dns_sd_configs"] for name in each["names"]}
    assert asked == {"api": port, "worker": port + 1, "scheduler": port + 2}
    assert asked.keys() <= services.keys()


def test_each_panel_asks_a_data_source_that_is_provisioned() -> None:
    provisioned = yaml.safe_load((FOLDER / "datasources.yml").read_text())["datasources"]
    known = {(each["type"], each["uid"]) for each in provisioned}
    asked = {
        (each["datasource"]["type"], each["datasource"]["uid"])
        for dashboard in DASHBOARDS.values()
        for panel in panels(dashboard)
        for each in (panel, *panel["targets"])
    }

    assert asked == known


@pytest.fixture
def role(settings: Settings) -> Iterator[None]:
    """Made by `reader.sql`, which is run each time that the services are started."""
    if (psql := shutil.which("psql")) is None:
        pytest.skip("psql is not installed")
    url = settings.require_database_url().partition("?")[0]  # an older psql knows not all of it
    run = [psql, url, "--quiet", "--set=ON_ERROR_STOP=1", f"--set=password={SECRET}"]
    for _ in range(2):
        subprocess.run([*run, f"--file={FOLDER / 'reader.sql'}"], check=True)
    yield
    subprocess.run(
        [*run, "--command=DROP OWNED BY grafana", "--command=DROP ROLE grafana"], check=True
    )


@pytest.fixture
async def reader(role: None, settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A connection such as Grafana's."""
    url = settings.require_database_url()
    reader = await asyncpg.connect(url, user="grafana", password=SECRET)
    yield reader
    await reader.close()


async def rows_of(
    reader: asyncpg.Connection, title: str, since: datetime, until: datetime, interval: str = ""
) -> list[dict[str, Any]]:
    """What the panel whose title begins so shows of btc_usd, with Grafana's macros filled in."""
    (panel,) = (each for each in panels(DASHBOARDS["prices"]) if each["title"].startswith(title))
    sql = panel["targets"][0]["rawSql"]
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 BETWEEN '{since}' AND '{until}'", sql)
    sql = sql.replace("$__timeFrom()", f"'{since}'").replace("$__timeTo()", f"'{until}'")
    sql = sql.replace("${ticker:sqlstring}", "'btc_usd'").replace("$interval", interval)
    assert "$" not in sql
    return [dict(row) for row in await reader.fetch(sql)]


async def test_candles_are_of_the_quotes_or_of_the_hours(
    sessions: Sessions, reader: asyncpg.Connection
) -> None:
    await insert(sessions, *(quote(at=at, price=str(100 + at % 7 + at)) for at in range(120)))
    await insert(sessions, quote("eth_usd", price="1"))

    short = await rows_of(reader, "$ticker", minute(0), minute(119), "15 minutes")
    long = await rows_of(reader, "$ticker", minute(0), minute(119), "1 hour")

    assert [each["time"] for each in short] == [minute(at) for at in range(0, 120, 15)]
    assert {**short[0], "time": 0} == {
        "time": 0, "open": 100.0, "high": 119.0, "low": 100.0, "close": 114.0,
    }  # fmt: skip
    assert [(each["time"], each["open"], each["close"]) for each in long] == [
        (minute(0), 100.0, 162.0),
        (minute(60), 164.0, 219.0),
    ]


async def test_missing_and_repaired_minutes_are_counted_by_the_hour(
    sessions: Sessions, reader: asyncpg.Connection
) -> None:
    await insert(sessions, *(quote(at=at) for at in range(60) if at not in {5, 6, 7}))
    await insert(sessions, quote(at=7, origin=Origin.REPAIRED))
    await insert(sessions, *(quote(at=at) for at in range(180, 240)))

    found = await rows_of(reader, "Minutes missing", minute(-120), minute(250))

    assert [(each["time"], each["missing"], each["repaired"]) for each in found] == [
        (minute(0), 2, 1),
        (minute(60), 60, 0),
        (minute(120), 60, 0),
        (minute(180), 0, 0),
    ]


async def test_the_newest_quotes_and_failures_are_listed(
    sessions: Sessions, reader: asyncpg.Connection
) -> None:
    await insert(sessions, quote(price="0.0000123000"), quote("eth_usd", at=1))
    await record(sessions, failure("TIMEOUT"))

    newest = await rows_of(reader, "Newest", minute(0), minute(10))
    failures = await rows_of(reader, "Failures", minute(0), minute(10))

    assert [(each["ticker"], each["price"], each["cause"]) for each in newest] == [
        ("btc_usd", "0.0000123000", None),
        ("eth_usd", "100000.5", "TIMEOUT"),
    ]
    assert failures == []  # which are eth_usd's


async def test_the_tickers_can_be_chosen(sessions: Sessions, reader: asyncpg.Connection) -> None:
    await insert(sessions, quote("eth_usd"), quote("btc_usd"), quote("btc_usd", at=1))
    (query,) = (
        each["query"]
        for each in DASHBOARDS["prices"]["templating"]["list"]
        if each["name"] == "ticker"
    )

    assert [row["ticker"] for row in await reader.fetch(query)] == ["btc_usd", "eth_usd"]


async def test_grafana_s_role_reads_prices_and_nothing_else(reader: asyncpg.Connection) -> None:
    for refused in (
        "SELECT * FROM tokens",
        "INSERT INTO failures SELECT * FROM failures",
        "SET default_transaction_read_only = off; DELETE FROM quotes",
    ):
        with pytest.raises(
            (
                asyncpg.InsufficientPrivilegeError,
                asyncpg.ReadOnlySQLTransactionError,
            )
        ):
            await reader.execute(refused)
