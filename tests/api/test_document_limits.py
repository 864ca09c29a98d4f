"""The settings, `.env.example` and the README name the same variables."""

import re

from paths import ROOT

from quotes.settings import PREFIX, Settings

VARIABLES = {PREFIX + name.upper() for name in Settings.model_fields}


def test_env_example_names_every_setting_and_no_other() -> None:
    named = set(
        re.findall(rf"^# ({PREFIX}\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    )

    assert named == VARIABLES


def test_the_readme_tells_of_every_setting_and_no_other() -> None:
    table = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("|")]
    named = {name for line in table for name in re.findall(rf"`({PREFIX}\w+)`", line)}

    assert named == VARIABLES
