"""The client without `await`: in a script, in a notebook's running loop, and at its end."""

import asyncio
import gc
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from processes import Api, free_port
from rows import insert, minute, quote, wait

from quotes.client import AsyncClient, Client, UnknownTickerError, UnreachableError
from quotes.database.sessions import Sessions, open_engine
from quotes.settings import Settings


@pytest.fixture(scope="module")
async def api(settings_of_a_module: Settings) -> AsyncIterator[Api]:
    """In a process of its own, as these tests hold their own loop up; they only read."""
    async with open_engine(settings_of_a_module.require_database_url(), name="test") as engine:
        await insert(Sessions(engine), *(quote(at=at) for at in range(3)))
    api = Api(settings_of_a_module, free_port())
    await api.start()
    async with AsyncClient(api.url) as client:
        await wait(lambda: answers(client), bool)
    yield api
    await api.end()


async def answers(client: AsyncClient) -> bool:
    try:
        return bool(await client.latest())
    except UnreachableError:
        return False


async def test_it_waits_within_a_running_loop(api: Api) -> None:
    assert asyncio.get_running_loop().is_running()

    with Client(api.url) as client:
        stream = client.follow(["BTC"], after="s0")

        assert [each.at for each in client.prices("BTC")] == [minute(at) for at in range(3)]
        assert [next(stream).at for _ in range(3)] == [minute(at) for at in range(3)]
        assert [len(page) for page in client.price_pages("BTC")] == [3]
        with pytest.raises(UnknownTickerError):
            client.prices("nosuch")
        with pytest.raises(UnknownTickerError):
            next(client.follow("nosuch"))


async def test_its_thread_ends_with_it_and_with_the_last_reference_to_it(api: Api) -> None:
    def threads() -> list[str]:
        return [each.name for each in threading.enumerate() if each.name == "quotes-client"]

    with Client(api.url) as client:
        stream = client.follow()
        next(stream)
        assert threads() == ["quotes-client"]
    assert threads() == []
    with pytest.raises(RuntimeError, match="This client is closed"):
        client.latest()
    with pytest.raises(RuntimeError, match="This client is closed"):
        next(stream)

    another = Client(api.url)
    another.latest()
    del another
    gc.collect()

    assert threads() == []


@pytest.mark.parametrize(
    "code",
    [
        "client.latest()",
        "next(client.follow())",
        "stream = client.follow(); next(stream)",
        "[next(client.follow()) for _ in range(3)]; client.close()",
    ],
)
async def test_a_script_ends_without_a_word_whatever_it_leaves_open(api: Api, code: str) -> None:
    script = f"from quotes.client import Client\nclient = Client({api.url!r})\n{code}"

    done = subprocess.run(  # noqa: ASYNC221  # nothing else is to run here
        [sys.executable, "-W", "default", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


INTERRUPTED = """
import sys
from quotes.client import Client

client = Client(sys.argv[1])
try:
    for quote in client.follow():
        print(quote.price, flush=True)
except KeyboardInterrupt:
    print(client.latest()[0].price)
"""


async def test_ctrl_c_interrupts_the_waiting_and_the_client_can_be_used_again(api: Api) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        INTERRUPTED,
        api.url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        first = await process.stdout.readline()
        process.send_signal(2)
        rest, errors = await process.communicate()

    assert (first, rest, errors) == (b"100000.5\n", b"100000.5\n", b"")


def test_each_method_is_that_of_the_asynchronous_client() -> None:
    names = {name for name in vars(AsyncClient) if not name.startswith("_")}

    assert {name for name in vars(Client) if not name.startswith("_")} == names
    for name in names - {"close"}:
        assert inspect.signature(getattr(Client, name)) == inspect.signature(
            getattr(AsyncClient, name)
        )
    assert inspect.signature(Client) == inspect.signature(AsyncClient)
