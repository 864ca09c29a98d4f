"""The commands `quotes queue ...`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from quotes.local import start

if TYPE_CHECKING:
    from quotes.queue import DeadLetter, Queue

app = typer.Typer(
    help=(
        "Show the queues of work; list the dead letters, send them again or drop them.\n\n"
        "A dead letter is a message that failed for good: its work met an error, it was too old "
        "when a worker was free for it, or no worker could read it. It delays nothing, and is "
        "dropped by itself after seven days.\n\n"
        "Most need nothing. A minute that was not collected is filled in by the next work on gaps "
        "as far as the exchange still has it. Send again what failed for a cause that is gone, as "
        "work that an older worker did not know during an upgrade."
    ),
    invoke_without_command=True,
)

SHORT = 8  # characters of an id; they are random, so that these are enough
MOST = 100_000  # dead letters that one command looks at

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="[ID...]", help="As `quotes queue dead` shows them."),
]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.callback()
def summary(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        with _open() as queue:
            lengths = queue.lengths()
        print(f"{'queue':<10}{'waiting':>9}{'running':>9}{'delayed':>9}{'dead':>9}")
        for each in lengths:
            counts = (each.waiting, each.running, each.delayed, each.dead)
            print(f"{each.queue:<10}" + "".join(f"{count:>9,}" for count in counts))
        if any(each.dead for each in lengths):
            print("\n`quotes queue dead` lists the dead letters, each with its reason.")


@app.command()
def dead(
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="How many, the newest first.")] = 20,
) -> None:
    """List the dead letters: when they died, what they were to do, and why they failed."""
    with _open() as queue:
        letters = queue.dead(limit)
        count = sum(each.dead for each in queue.lengths())
    for letter in letters:
        print(f"{_id(letter)}  {letter.died_at:%Y-%m-%d %H:%M:%SZ}  {letter.queue}")
        print(f"    {_printable(letter.work)}\n    {_printable(letter.reason)}")
    rest = count - len(letters)
    print(f"{count:,} dead letters" + (f"; --limit {count} shows all." if rest > 0 else "."))


@app.command()
def resend(ids: Ids = None, *, all_: All = False) -> None:
    """Send dead letters again, as if they were sent now.

    The work for a minute that is over stores nothing any more; it is filled in as a gap instead.
    """
    from quotes.dramatiq_redis import UnreadableError

    def send(queue: "Queue", letter: "DeadLetter") -> str | None:
        try:
            queue.resend(letter)
        except UnreadableError as error:
            return f"{_id(letter)} cannot be sent again, only dropped: it cannot be read ({error})."
        return None

    _each("sent again", ids, send, all_=all_)


@app.command()
def drop(ids: Ids = None, *, all_: All = False) -> None:
    """Drop dead letters for good."""

    def remove(queue: "Queue", letter: "DeadLetter") -> None:
        queue.drop(letter)

    _each("dropped", ids, remove, all_=all_)


def _each(
    done: str,
    ids: list[str] | None,
    work: Callable[["Queue", "DeadLetter"], str | None],
    *,
    all_: bool,
) -> None:
    """Prints how many were `done`; where one cannot be, why, and ends with status 1."""
    if bool(ids) == all_:
        raise typer.BadParameter("Name the ids that `quotes queue dead` shows, or --all.")
    with _open() as queue:
        letters = queue.dead(MOST)
        chosen = letters if all_ else [_chosen(letters, each) for each in ids or []]
        faults = [fault for letter in chosen if (fault := work(queue, letter))]
    for fault in faults:
        print(_printable(fault), file=sys.stderr)
    print(f"{len(chosen) - len(faults):,} dead letters were {done}.")
    if faults:
        from quotes.settings import FAILED

        raise typer.Exit(FAILED)


def _chosen(letters: list["DeadLetter"], beginning: str) -> "DeadLetter":
    found = [letter for letter in letters if _whole_id(letter).startswith(beginning)]
    if len(found) != 1:
        what = "No dead letter has" if not found else "More than one dead letter has"
        raise typer.BadParameter(f"{what} an id that begins with {beginning}.")
    return found[0]


@contextmanager
def _open() -> Iterator["Queue"]:
    """The queue of QUOTES_REDIS_URL, or of the `up` that runs here.

    Ends with status 1 where it does not answer.
    """
    settings = start.queue_here()
    import redis

    from quotes import addresses, queue
    from quotes.settings import FAILED

    try:
        yield queue.connect(settings)
    except (redis.RedisError, OSError) as error:
        where = addresses.shown(settings.require_redis_url())
        print(f"The queue of QUOTES_REDIS_URL ({where}) does not answer: {error}", file=sys.stderr)
        raise typer.Exit(FAILED) from None


def _id(letter: "DeadLetter") -> str:
    return _whole_id(letter)[:SHORT]


def _whole_id(letter: "DeadLetter") -> str:
    return _printable(letter.identity.decode(errors="backslashreplace"))


def _printable(text: str) -> str:
    """What is in a queue may be anybody's, and a terminal obeys some characters."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
