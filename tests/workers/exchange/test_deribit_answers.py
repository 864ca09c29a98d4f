"""What the exchange's answers mean, word by word, without a wire."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotes.market.sources import Cause, Chart, Retry, SourceError, Tick
from workers.exchange.answers import MAX_BODY, read_chart, read_tick

# As recorded, cut down to what an index price has.
RECORDED = (
    '{"jsonrpc":"2.0","result":{"index_price":101848.9,"estimated_delivery_price":101848.9},'
    '"usIn":1736192149127653,"usOut":1736192149127810,"usDiff":157,"testnet":false}'
)
RECORDED_REFUSAL = (
    '{"jsonrpc":"2.0","error":{"code":-32602,"data":{"reason":"wrong format",'
    '"param":"instrument_name"},"message":"Invalid params"},"testnet":false,'
    '"usIn":1761890355600251,"usOut":1761890355600325,"usDiff":74}'
)


def envelope(price: str = "80814.47", **members: Any) -> bytes:
    answer = {
        "jsonrpc": "2.0",
        "result": {"index_price": "PRICE"},
        "usOut": 1736192149127810,
        "testnet": False,
        **members,
    }
    return json.dumps(answer).replace('"PRICE"', price).encode()


def read(body: bytes | str, status: int = 200, *, testnet: bool = False) -> Tick:
    content = body if isinstance(body, bytes) else body.encode()
    return read_tick("btc_usd", status, content, testnet=testnet)


def failure(body: bytes | str, status: int = 200, *, testnet: bool = False) -> SourceError:
    with pytest.raises(SourceError) as caught:
        read(body, status, testnet=testnet)
    return caught.value


def test_a_recorded_answer_is_read() -> None:
    observed_at = datetime(2025, 1, 6, 19, 35, 49, 127810, tzinfo=UTC)

    assert read(RECORDED) == Tick("btc_usd", Decimal("101848.9"), observed_at)


@pytest.mark.parametrize(
    ("code", "cause", "retry"),
    [
        (10028, Cause.RATE_LIMITED, Retry.SOON),
        (10066, Cause.RATE_LIMITED, Retry.SOON),
        *((n, Cause.UNAVAILABLE, Retry.SOON) for n in (10040, 10041, 10047, 11094, 13028, 13888)),
        *((n, Cause.UNAVAILABLE, Retry.SLOWLY) for n in (13025, 13503)),
        (11051, Cause.MAINTENANCE, Retry.SLOWLY),
        (11056, Cause.REFUSED, Retry.SLOWLY),
        (12005, Cause.REFUSED, Retry.NEVER),
        (-32602, Cause.UNKNOWN_INDEX, Retry.NEVER),
        *(
            (n, Cause.REFUSED, Retry.NEVER)
            for n in (-32601, -32700, -32600, -32000, 11050, 11029, 13020)
        ),
        (99999, Cause.UNAVAILABLE, Retry.SOON),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 429, 502])
def test_a_code_says_more_than_the_status(
    code: int, cause: Cause, retry: Retry, status: int
) -> None:
    error = failure(f'{{"jsonrpc":"2.0","error":{{"code":{code},"message":"m"}}}}', status)

    assert (error.cause, error.retry) == (cause, retry)


def test_a_refusal_has_the_exchange_s_own_words() -> None:
    assert "Invalid params: wrong format: instrument_name" in str(failure(RECORDED_REFUSAL, 400))


def test_the_words_of_an_error_page_are_for_the_operator_alone() -> None:
    page = "<html>\r\n<h1>502 Bad Gateway</h1>\x1b[2J<hr>\u202enginx at www.deribit.com</html>"

    error = failure(page, 502)

    assert error.detail == "'502 Bad Gateway [2J nginx at www.deribit.com'"
    assert str(error).endswith("the exchange cannot answer just now (HTTP 502).")


def test_the_words_of_an_answer_are_cut_short() -> None:
    assert len(str(failure("x" * 10_000, 500))) < 400
    assert len(str(failure(envelope('"' + "9" * 10_000 + '"')))) < 400


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (302, Cause.BAD_ANSWER),
        (400, Cause.BAD_ANSWER),
        (404, Cause.BAD_ANSWER),
        (429, Cause.RATE_LIMITED),
        (500, Cause.UNAVAILABLE),
        (503, Cause.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"error":"down"}', RECORDED])
def test_without_a_code_the_status_counts(body: str, status: int, cause: Cause) -> None:
    error = failure(body, status)

    assert (error.cause, error.retry) == (cause, Retry.SOON)


UNPROMISED = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[1]",
    "a string": b'"ok"',
    "an empty object": b"{}",
    "another encoding": b"\xff\xfe{",
    "bytes that are no UTF-8": b'{"jsonrpc":"\xff"}',
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "an endless integer": envelope("9" * 10_000),
    "an endless exponent": envelope("1e99999999999999999999"),
    "a result of null": envelope(result=None),
    "a result that is a list": envelope(result=[]),
    "a result without a price": envelope(result={}),
    "a bare price": envelope(result=80814.47),
    "no time": envelope(usOut=None),
    "a time that is text": envelope(usOut="1736192149127810"),
    "a time that is a bool": envelope(usOut=True),
    "a time between microseconds": envelope(usOut=1736192149127810.5),
    "a time after all years": envelope(usOut=10**30),
    "a time before all years": envelope(usOut=-(10**17) * 7),
    "a body over the bound": envelope() + b" " * MAX_BODY,
}


@pytest.mark.parametrize("body", UNPROMISED.values(), ids=UNPROMISED.keys())
def test_what_the_api_does_not_promise_is_a_bad_answer(body: bytes) -> None:
    error = failure(body)

    assert (error.cause, error.retry) == (Cause.BAD_ANSWER, Retry.SOON)


@pytest.mark.parametrize(
    "price",
    [
        *("0", "0.0", "-0.0", "-1", "1e31", "1e-31", "1e400", "1e-400", "1." + "1" * 40),
        *("NaN", "Infinity", "-Infinity", "true", "false", '"80814.47"', "[80814.47]", "{}"),
        "9" * 41,
    ],
)
def test_what_is_no_price_is_never_stored_as_one(price: str) -> None:
    error = failure(envelope(price))

    assert (error.cause, error.retry) == (Cause.BAD_PRICE, Retry.SOON)


@pytest.mark.parametrize("flag", [True, None, 0, "false"])
def test_prices_of_no_certain_environment_are_refused(flag: object) -> None:
    error = failure(envelope(testnet=flag))

    assert (error.cause, error.retry) == (Cause.WRONG_ENVIRONMENT, Retry.NEVER)


def test_prices_that_do_not_name_their_environment_are_refused() -> None:
    assert failure(RECORDED.replace(',"testnet":false', "")).cause is Cause.WRONG_ENVIRONMENT
    assert failure(RECORDED, testnet=True).cause is Cause.WRONG_ENVIRONMENT


@given(micros=st.integers(0, 4_000_000_000_000_000))
def test_the_exchange_s_clock_is_read_to_the_microsecond(micros: int) -> None:
    observed_at = read(envelope(usOut=micros)).observed_at

    seconds, rest = divmod(micros, 1_000_000)
    assert observed_at == datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


words = st.sampled_from(["", "code", "reason", "80814.47", "\x1b[2J", "\ud800"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=3,
)
answers = st.fixed_dictionaries(
    {},
    optional={
        "result": anything | st.fixed_dictionaries({"index_price": anything}),
        "error": anything | st.fixed_dictionaries({"code": anything, "data": anything}),
        "usOut": anything,
        "testnet": anything,
    },
)


@given(
    body=st.binary(max_size=50) | answers.map(lambda answer: json.dumps(answer).encode()),
    status=st.sampled_from([200, 302, 400, 429, 502]),
)
def test_whatever_is_answered_is_a_tick_or_a_named_failure(body: bytes, status: int) -> None:
    try:
        tick = read(body, status)
    except SourceError as error:
        assert str(error).isprintable()  # noqa: PT017  # either outcome is right
    else:
        assert tick.price > 0


def chart(*points: str) -> Chart:
    body = envelope(result="PRICE", price="[" + ",".join(points) + "]")
    return read_chart("btc_usd", 200, body, testnet=False)


def test_a_chart_is_read_in_the_order_of_time_with_the_exchange_s_digits() -> None:
    found = chart("[1789935456000,81110.428333]", "[1789935450000,81110]", "[1789935462000,1.6e-4]")

    assert [(point.at.second, str(point.price)) for point in found.points] == [
        (30, "81110"),
        (36, "81110.428333"),
        (42, "0.00016"),
    ]
    assert found.points[0].at == datetime(2026, 9, 20, 20, 17, 30, tzinfo=UTC)
    assert not found.left_out


@pytest.mark.parametrize(
    "price",
    ["null", "0", "-5", "NaN", "Infinity", '"5"', "true", "[]", "{}", "[[5]]", "1e400", "1e-99"],
)
def test_a_point_without_a_price_is_left_out_and_counted(price: str) -> None:
    found = chart("[1789935450000,5]", f"[1789935456000,{price}]")

    assert (len(found.points), dict(found.left_out)) == (1, {"without a price": 1})


@pytest.mark.parametrize(
    "point",
    ["5", "[]", "[1]", "[1,2,3]", '["1789935456000",2]', "[1789935456000.0,2]", "[true,2]", "null",
     "[1e400,2]", "[99999999999999999,2]", "[-99999999999999999,2]", '{"1789935456000":2}', "[[]]",
     "[[1789935456000,2],2]", "[NaN,2]", "[null,null]", '"[1,2]"', "[[1789935456000,2]]"],
)  # fmt: skip
def test_what_is_no_point_is_left_out_and_counted(point: str) -> None:
    found = chart("[1789935450000,5]", point)

    assert (len(found.points), found.left_out.total()) == (1, 1)


@pytest.mark.parametrize("result", ["{}", '"[]"', "5", "null", "true"])
def test_what_is_no_chart_is_a_bad_answer(result: str) -> None:
    with pytest.raises(SourceError) as caught:
        read_chart("btc_usd", 200, envelope(result="PRICE", price=result), testnet=False)

    assert caught.value.cause is Cause.BAD_ANSWER


def test_a_chart_may_be_longer_than_a_price() -> None:
    found = chart(*(f"[{1789935450000 + 6000 * n},81110.428333]" for n in range(50_000)))

    assert len(found.points) == 50_000
