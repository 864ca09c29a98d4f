"""`quotes export`, as its user meets it: files, what is written again, sentences and statuses."""

import asyncio
import csv
import json
import os
import sys
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from client import serving
from days import fill_days
from processes import environment
from pyarrow import parquet as reader
from rows import insert, minute, quote, wait

from quotes.database.maintenance import removal
from quotes.database.models import Origin
from quotes.database.sessions import Sessions
from quotes.export import parquet
from quotes.local.commands.export import export as run
from quotes.settings import Settings

PRICES = ["0.000000001230", "91892.123456789012", "100000.50"]


@pytest.fixture
async def settings(settings: Settings, sessions: Sessions) -> Settings:
    """Those of a database with three quotes, on three days with one between."""
    times = (0, 1_440, 3 * 1_440)
    await insert(
        sessions, *(quote(at=at, price=each) for at, each in zip(times, PRICES, strict=True))
    )
    return settings


async def export(settings: Settings, *words: str, **more: str) -> tuple[int | None, str, str]:
    """The status of the command, and what it wrote to stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "quotes", "export", *words),
        env=environment(settings, **more),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


def manifest(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "btc_usd/manifest.json").read_text())["files"])


async def test_each_day_is_a_file_that_hashes_to_what_the_manifest_says(
    settings: Settings, tmp_path: Path
) -> None:
    status, output, _ = await export(settings, "BTC", "--out", str(tmp_path))

    assert (status, "wrote 4 days with 3 quotes" in output) == (0, True)
    names = [f"2026-{day}.csv" for day in ("01-31", "02-01", "02-02", "02-03")]
    assert {path.name for path in (tmp_path / "btc_usd").iterdir()} == {*names, "manifest.json"}
    found = [row for name in names for row in rows(tmp_path / "btc_usd" / name)]
    assert [row["price"] for row in found] == PRICES
    told = manifest(tmp_path)
    assert {name: told[name]["sha256"] for name in names} == {
        name: sha256((tmp_path / "btc_usd" / name).read_bytes()).hexdigest() for name in names
    }


def rows(path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(path.read_text().splitlines())]


async def test_without_a_name_all_tickers_with_quotes_of_the_time_are_exported(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    await insert(sessions, quote("eth_usd", 1_440), quote("sol_usd", 40 * 1_440))

    status, _, _ = await export(settings, "--to", "2026-03", "--out", str(tmp_path))

    assert status == 0
    assert {*await asyncio.to_thread(os.listdir, tmp_path)} == {"btc_usd", "eth_usd"}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
async def test_a_file_is_the_one_that_is_served_over_http(
    settings: Settings, tmp_path: Path, form: str
) -> None:
    await export(settings, "BTC", "--format", form, "--out", str(tmp_path))

    async with (
        serving(settings) as client,
        client.http.get(f"{client.url}/export/btc_usd/2026-02-01.{form}") as response,
    ):
        assert (tmp_path / f"btc_usd/2026-02-01.{form}").read_bytes() == await response.read()


async def test_only_the_days_that_changed_are_written_again(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    folder = tmp_path / "btc_usd"
    await export(settings, "BTC", "--out", str(tmp_path))
    await insert(sessions, quote(at=9, price="7", origin=Origin.REPAIRED), quote(at=4 * 1_440))
    (folder / "2026-02-02.csv").unlink()
    (folder / "2026-02-03.csv").write_text("cut off")
    untouched = (folder / "2026-02-01.csv").stat()

    status, output, _ = await export(settings, "BTC", "--out", str(tmp_path))

    assert (status, "wrote 4 days with 4 quotes; 1 more were up to date" in output) == (0, True)
    assert (folder / "2026-02-01.csv").stat() == untouched
    assert [row["price"] for row in rows(folder / "2026-01-31.csv")] == [PRICES[0], "7"]
    assert [row["price"] for row in rows(folder / "2026-02-03.csv")] == [PRICES[2]]


async def test_a_day_whose_quotes_were_removed_is_written_again(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    await export(settings, "BTC", "--out", str(tmp_path))
    extent = removal.Extent("btc_usd", minute(1_440), minute(1_441))
    await sessions.transact(partial(removal.remove, piece=extent))

    await export(settings, "BTC", "--out", str(tmp_path))

    assert rows(tmp_path / "btc_usd/2026-02-01.csv") == []


async def test_only_the_days_of_the_range_are_written(settings: Settings, tmp_path: Path) -> None:
    words = ("--from", "2026-02", "--to", "2026-02-03", "--format", "parquet")

    status, _, _ = await export(settings, "BTC", *words, "--out", str(tmp_path))

    assert status == 0
    assert {*manifest(tmp_path)} == {"2026-02-01.parquet"}
    table = reader.read_table(tmp_path / "btc_usd/2026-02-01.parquet")
    assert table.column("price").to_pylist() == [PRICES[1]]


async def test_what_was_stopped_goes_on_where_it_was(
    settings: Settings, sessions: Sessions, tmp_path: Path
) -> None:
    extent = removal.Extent("btc_usd", minute(0), minute(10_000))
    await sessions.transact(partial(removal.remove, piece=extent))
    await fill_days(sessions, 150)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "quotes", "export", "BTC", "--out", str(tmp_path)),
        env=environment(settings),
    )
    folder = tmp_path / "btc_usd"
    await wait(lambda: asyncio.to_thread(lambda: [*folder.glob("2026-*")]), lambda found: found)
    process.send_signal(2)
    async with asyncio.timeout(60):
        assert await process.wait() == 1
    before = len(manifest(tmp_path))
    assert 0 < before < 150

    status, output, _ = await export(settings, "BTC", "--out", str(tmp_path))

    assert (status, f"; {before} more were up to date" in output) == (0, True)
    assert len(manifest(tmp_path)) == 150
    assert not [*folder.glob(".*")]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("b!c",), "is not a ticker"),
        (("BTC", "--format", "xlsx"), "write one of csv, jsonl, parquet"),
        (("BTC", "--from", "2026-02-30"), "There is no 2026-02-30 in the calendar"),
        (("BTC", "--from", "2999"), "--from 2999 has not begun yet"),
        (("BTC", "--from", "2026-02", "--to", "2026-02"), "--from is to be earlier than --to"),
        (("BTC", "ETH"), "no quotes of eth_usd here"),
        (("--to", "2020"), "there are no quotes here"),
    ],
)
async def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    settings: Settings, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    status, _, errors = await export(settings, *words, "--out", str(tmp_path))

    assert (status, sentence in errors, "Traceback" in errors) == (2, True, False)
    assert await asyncio.to_thread(lambda: [*tmp_path.iterdir()]) == []


async def test_a_folder_that_cannot_be_written_is_named(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    status, _, errors = await export(settings, "BTC", "--out", str(tmp_path / "file"))

    assert (status, f"Cannot write to {tmp_path / 'file'}" in errors) == (1, True)


def test_without_the_library_parquet_is_refused_with_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(parquet, "library", lambda: None)
    nowhere = "postgresql://nobody@127.0.0.1:1/quotes"

    status = run(nowhere, ["BTC"], since=None, until=None, form="parquet", out=tmp_path)

    assert status == 2
    assert "`pip install 'quotes[parquet]'`" in capsys.readouterr().err
