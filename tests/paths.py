"""Where the tests find what is not code."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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
