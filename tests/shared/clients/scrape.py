"""What Prometheus reads, as numbers."""

import re

from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """The samples of one or more processes, added up."""

    def __init__(self, *texts: str) -> None:
        self.names = set(re.findall(r"^# TYPE (\S+)", "\n".join(texts), re.MULTILINE))
        self._samples = [
            sample
            for text in texts
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of those that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def still(self) -> set[str]:
        """The names of those that are all 0, or absent."""
        moved = {sample.name for sample in self._samples if sample.value}
        return {name for name in self.names if not {name, f"{name}_count"} & moved}
