"""What the scheduler shows to Prometheus."""

from math import isnan

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from quotes import metrics, queue
from quotes.database.maintenance.totals import Totals
from quotes.metrics import Process
from quotes.settings import Settings
from workers import installation

NOWHERE = Settings(redis_url=SecretStr("redis://127.0.0.1:1/0"))


def scraped() -> dict[str, float]:
    """By name, of one sample each."""
    collector = installation.QueueCollector(queue.connect(NOWHERE))
    text = generate_latest(metrics.registry(Process.SCHEDULER, collector)).decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_queue_that_does_not_answer_is_shown_as_such_and_without_lengths() -> None:
    found = scraped()

    assert found["quotes_queue_up"] == 0
    assert "quotes_queue_messages" not in found


def test_only_the_scheduler_that_leads_shows_what_there_is_one_of() -> None:
    installation.show(Totals(database_bytes=7, unfinished_charts=6))
    leading = scraped()
    installation.forget()
    waiting = scraped()

    assert leading["quotes_scheduler_leads"] == 1
    assert (leading["quotes_database_bytes"], leading["quotes_backfill_charts_left"]) == (7, 6)
    assert waiting["quotes_scheduler_leads"] == 0
    assert isnan(waiting["quotes_database_bytes"])
    assert isnan(waiting["quotes_backfill_charts_left"])
