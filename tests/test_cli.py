"""The command line, as its user meets it: exit statuses and sentences."""

import json
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from quotes.database.maintenance import revisions
from quotes.settings import Settings


def quotes(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "quotes", *words],
        env={"PATH": "", "QUOTES_LOG_FORMAT": "json", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_names_every_command_and_what_it_is_for() -> None:
    answer = quotes("--help")

    assert answer.returncode == 0
    for command in ("up", "api", "worker", "scheduler", "migrate", "export", "schema"):
        assert f"\n  {command} " in answer.stdout


def test_the_version_is_the_package_s() -> None:
    assert quotes("--version").stdout == f"quotes {version('quotes')}\n"


@pytest.mark.parametrize("words", [(), ("nope",), ("up", "--nope"), ("migrate", "--revision", "x")])
def test_what_is_no_command_ends_with_status_2(words: tuple[str, ...]) -> None:
    answer = quotes(*words)

    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("command", ["api", "worker", "scheduler", "migrate"])
def test_a_command_without_its_database_names_the_variable(command: str) -> None:
    answer = quotes(command)

    assert answer.returncode == 2
    assert answer.stderr.startswith("QUOTES_DATABASE_URL is not set.")


@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_a_command_without_its_queue_names_the_variable(command: str) -> None:
    answer = quotes(command, QUOTES_DATABASE_URL="postgresql://quotes@host/quotes")

    assert answer.returncode == 2
    assert answer.stderr.startswith("QUOTES_REDIS_URL is not set.")


def test_a_wrong_setting_is_one_line_that_shows_no_password() -> None:
    answer = quotes("up", QUOTES_DATABASE_URL="mysql://user:secret@host/quotes")

    assert answer.returncode == 2
    assert answer.stderr == ("QUOTES_DATABASE_URL: must begin with postgresql:// or postgres://\n")


@pytest.mark.parametrize("command", ["migrate", "backfill"])
def test_a_command_waits_for_its_database_for_a_bounded_time(
    command: str, free_tcp_port: int
) -> None:
    host = f"127.0.0.1:{free_tcp_port}"
    url = f"postgresql://quotes:secret@{host}/quotes"
    answer = quotes(command, "--wait", "2", QUOTES_DATABASE_URL=url)

    waiting, sentence = answer.stderr.splitlines()
    assert answer.returncode == 1
    assert json.loads(waiting)["event"] == "database_unavailable"
    assert sentence.startswith(
        f"The database of QUOTES_DATABASE_URL ({host}) has not answered within 2 seconds: "
    )
    assert "secret" not in answer.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGPORT", "abc"),
        ("PGSSLMODE", "nonsense"),
    ],
)
def test_libpq_s_environment_that_cannot_work_is_one_sentence(name: str, value: str) -> None:
    answer = quotes("migrate", QUOTES_DATABASE_URL="postgresql://quotes@127.0.0.1", **{name: value})

    assert answer.returncode == 2
    assert answer.stderr.startswith("QUOTES_DATABASE_URL cannot be used, or a variable of libpq's")
    assert len(answer.stderr.splitlines()) == 1


def test_libpq_s_environment_fills_in_what_a_url_leaves_out(database_url: str) -> None:
    parts = urlsplit(database_url)
    answer = quotes(
        "migrate",
        QUOTES_DATABASE_URL="postgresql://",
        PGHOST=unquote(parts.hostname or ""),
        PGPORT=str(parts.port),
        PGUSER=parts.username or "",
        PGDATABASE=parts.path.strip("/"),
    )

    assert (answer.returncode, answer.stderr) == (0, "")


def test_of_several_hosts_one_that_answers_is_enough(database_url: str, free_tcp_port: int) -> None:
    several = database_url.replace("@", f"@127.0.0.1:{free_tcp_port},")

    assert quotes("migrate", QUOTES_DATABASE_URL=several).returncode == 0


def test_a_migration_of_a_current_database_changes_nothing(settings: Settings) -> None:
    answer = quotes("migrate", QUOTES_DATABASE_URL=settings.require_database_url())

    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_an_api_whose_port_is_taken_names_the_setting(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        answer = quotes(
            "api", QUOTES_PORT=port, QUOTES_DATABASE_URL=settings.require_database_url()
        )

    assert answer.returncode == 2
    assert port in answer.stderr
    assert "QUOTES_PORT" in answer.stderr


def test_the_schema_is_printed_as_the_repository_holds_it() -> None:
    held = Path(__file__).parent.parent / "schema.graphql"

    assert quotes("schema").stdout == held.read_text()


def test_the_newest_revision_is_the_last_one_known() -> None:
    assert revisions.head() == revisions.known()[-1] == max(revisions.known())
