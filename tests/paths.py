"""Where the tests find what is not code."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REPLAY = ROOT.parent / "shared/replay"  # recorded minutes; a clone has none
