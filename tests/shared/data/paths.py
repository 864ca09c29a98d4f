"""What is not code, and where the tests find it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
REPLAY = ROOT.parent / "shared/replay"  # recorded minutes; a clone has none
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets(language: str) -> list[tuple[Path, str]]:
    """Every snippet in that language, with the page that holds it."""
    return [
        (page, text)
        for page in PAGES
        for text in re.findall(
            rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
        )
    ]


def in_tables(text: str, pattern: str) -> set[str]:
    """What the pattern finds in the first column of any table."""
    columns = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return {found for column in columns for found in re.findall(pattern, column)}
