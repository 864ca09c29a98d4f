"""What the README and docs/ state is so: settings, codes, statuses, commands, queries and links."""

import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import build_schema, parse, validate
from paths import PAGES, ROOT, in_tables, snippets
from typer.main import get_command

from quotes.api.errors import Code
from quotes.cli import app
from quotes.settings import PREFIX, Settings

VARIABLES = {PREFIX + name.upper() for name in Settings.model_fields}
ERRORS = (ROOT / "docs" / "errors.md").read_text()


def test_env_example_names_every_setting_and_no_other() -> None:
    named = re.findall(rf"^# ({PREFIX}\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)

    assert set(named) == VARIABLES


def test_the_settings_page_has_every_setting_and_no_other() -> None:
    settings = (ROOT / "docs" / "settings.md").read_text()

    assert in_tables(settings, rf"`({PREFIX}\w+)`") == VARIABLES


def test_each_code_of_an_error_has_its_meaning_and_remedy() -> None:
    assert in_tables(ERRORS, r"`([A-Z_]+)`") == {code.value for code in Code}


def test_each_status_and_close_code_that_is_sent_has_its_meaning_and_remedy() -> None:
    sent = {number for file in (ROOT / "quotes/server").rglob("*.py") for number in numbers(file)}

    assert in_tables(ERRORS, r"\b(\d{3,4})\b") == sent | {"1012"}  # uvicorn's, at a restart


def numbers(file: Path) -> Iterator[str]:
    """The statuses of refusals and the close codes among a module's numbers."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and type(node.value) is int:
            number = node.value
            if number // 100 in {4, 5, 44} or 1008 <= number < 1016:
                yield str(number)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for path, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in [each.lower().replace(" ", "-") for each in headings]


@pytest.mark.parametrize("document", [text for _, text in snippets("graphql")])
def test_every_query_is_one_of_the_schema_s(document: str) -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text())

    for query in re.split(r"\n(?=\{)", document):
        assert validate(schema, parse(query)) == []


def test_every_answer_is_json() -> None:
    for _, text in snippets("json"):
        json.loads(text)


def test_every_command_exists_with_its_options() -> None:
    commands = [
        line
        for page in PAGES
        for line in re.findall(
            r"(?:^|`)((?:quotes|\./dev) [a-z][^`#\n]*)", page.read_text(), re.MULTILINE
        )
    ]

    assert len(commands) > 10
    for line in commands:
        check_command(line)


def check_command(line: str) -> None:
    _, *words = shlex.split(line.replace("...", ""))
    if words[0] in {"test", "check"}:  # ./dev's own
        return
    command: Any = get_command(app)
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            assert command.invoke_without_command, line
            break
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in known | {"--help"}, line
