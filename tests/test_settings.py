"""What the environment and `.env` may hold, and the sentence for what they may not."""

import json
from pathlib import Path

import pytest
from test_cli import quotes

from quotes import addresses
from quotes.settings import Settings, SettingsError, unknown_names

SECRETS = ("hunter2", "hunt", "er2")


def refusal(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> str:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as error:
        Settings.load()
    sentence = str(error.value)
    assert sentence.startswith(f"{name}: ")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:hunter2@h1:5432,h2:5433/db", "h1:5432,h2:5433"),
        ("postgresql://u:hunter2@[::1]:5432/db", "[::1]:5432"),
        ("postgresql://u@%2Ftmp%2Fa%2Cb:5432/db", "/tmp/a,b:5432"),  # noqa: S108
        ("postgresql:///db?host=/tmp&password=hunter2", "/tmp"),  # noqa: S108
        ("postgresql:///db?host=h1,h2&port=1,2&user=me%40corp", "h1,h2:1,2"),
        ("postgresql://u@[::1]:5432,[::2]:5433/db", "[::1]:5432,[::2]:5433"),
        ("postgresql://", "default host"),
        ("postgresql:///db?service=prices", "default host"),
        ("postgresql://u:hunt%40er2@h/db?sslmode=require&target_session_attrs=primary", "h"),
    ],
)
def test_a_database_s_url_that_libpq_reads_is_accepted_and_shown_without_its_secrets(
    url: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUOTES_DATABASE_URL", url)

    assert Settings.load().require_database_url() == url
    assert addresses.shown(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:hunter2@", "default host"),
        ("redis://:hunt@er2@h:6379/0", "h:6379"),
        ("redis://h/0?password=hunter2", "h"),
        ("unix:///tmp/valkey.sock?db=0&password=hunter2", "/tmp/valkey.sock"),  # noqa: S108
        ("redis://", "default host"),
    ],
)
def test_a_queue_s_url_is_accepted_and_shown_without_its_secrets(
    url: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUOTES_REDIS_URL", url)

    assert Settings.load().require_redis_url() == url
    assert addresses.shown(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunt@er2@h/db",
        "postgresql://u:hunt/er2@h/db",
        "postgresql://u:12/er2@h/db",
        "postgresql://u:12?er2@h/db",
        "postgresql://u:hunt#er2@h/db",
        "postgresql://u:hunt[er2@h/db",
        "postgresql://u:hunter2@h:port/db",
        "postgresql://u:hunter2@h:99999/db",
        "postgresql://u:hunter2@h1,,h2/db",
        "postgresql://u:hunter2@h1:1,h2:x/db",
        "postgresql://u:hunter2@h/db?hunter2",
        "postgresql://u:hunter2@h1,h2,h3/db?port=1,2",
        "postgresql://u:hunter2@h/db?channel_binding=require",
        "postgresql:u:hunter2@h",
        "u:hunter2@h/db",
        "mysql://u:hunter2@h/db",
        "postgresql://u:hunter2@h/\ndb",
    ],
)
def test_a_database_s_url_that_cannot_work_is_refused_and_nothing_of_it_is_shown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = refusal(monkeypatch, "QUOTES_DATABASE_URL", url)

    assert not any(secret in sentence for secret in SECRETS)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunt/er2@h:6379",
        "redis://:12/er2@h:6379",
        "redis://:hunt#er2@h:6379",
        "redis://:hunter2@h:6379/queue",
        "REDIS://:hunter2@h",
        "unix://",
        "http://hunter2@h",
    ],
)
def test_a_queue_s_url_that_cannot_work_is_refused_and_nothing_of_it_is_shown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = refusal(monkeypatch, "QUOTES_REDIS_URL", url)

    assert not any(secret in sentence for secret in SECRETS)


@pytest.mark.parametrize(
    "url", ["https://u:hunter2@h/api/v2", "https://h/api?key=hunter2", "http://h:0/x", "http://"]
)
def test_an_exchange_s_url_holds_no_secret(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "hunter2" not in refusal(monkeypatch, "QUOTES_DERIBIT_URL", url)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("HTTPS://App.Example.COM/", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://app.example.com:80/", "http://app.example.com"),
        ("http://app.example.com:443", "http://app.example.com:443"),
        ("http://localhost:05173", "http://localhost:5173"),
        ("https://Bücher.example", "https://xn--bcher-kva.example"),
        ("https://BU\u0308CHER.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example:", "https://xn--bcher-kva.example"),
        ("https://faß.example", "https://xn--fa-hia.example"),
        ("http://[2001:DB8:0:0::1]:8080", "http://[2001:db8::1]:8080"),
        ("http://192.0.2.1", "http://192.0.2.1"),
        ("https://my_app.example", "https://my_app.example"),
    ],
)
def test_an_origin_is_taken_in_any_spelling(
    written: str, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUOTES_ALLOWED_ORIGINS", f"{written}, https://other.example")

    assert Settings.load().allowed_origins == (sent, "https://other.example")


@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.com/path",
        "https://app.example.com/?query",
        "https://app.example.com/#part",
        "https://u:hunter2@app.example.com",
        "https://app.example.com:99999",
        "https://app.example.com:https",
        "https://*.example.com",
        "https://app..example.com",
        "https://app example.com",
        "https://999.1.1.1",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "https://",
        "wss://app.example.com",
        "app.example.com",
        "null",
        "*",
    ],
)
def test_an_origin_that_no_browser_sends_is_refused(
    origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "hunter2" not in refusal(monkeypatch, "QUOTES_ALLOWED_ORIGINS", origin)


def test_trusted_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUOTES_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,2001:DB8:0::1,10.0.0.0/8")

    assert Settings.load().trusted_proxies == ("127.0.0.1", "10.0.0.0/8", "2001:db8::1")


@pytest.mark.parametrize("proxies", ["*", "nginx", "10.0.0.1/8", "127.0.0.1:80", "[::1]"])
def test_nobody_is_trusted_by_another_name(proxies: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal(monkeypatch, "QUOTES_TRUSTED_PROXIES", proxies)


@pytest.mark.parametrize(
    ("written", "path"), [("/", ""), ("/prices/", "/prices"), ("/our/p-1", "/our/p-1")]
)
def test_a_root_path_is_taken_with_or_without_its_last_slash(
    written: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUOTES_ROOT_PATH", written)

    assert Settings.load().root_path == path


@pytest.mark.parametrize("path", ["prices", "//x", "/a//b", "/../x", "/a/.", "/a?b", "/a b", "/ä"])
def test_a_root_path_that_cannot_be_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refusal(monkeypatch, "QUOTES_ROOT_PATH", path)


@pytest.mark.parametrize(
    ("written", "tickers"),
    [
        ("BTC, eth_usd,btc_usd", ("btc_usd", "eth_usd")),
        ("All", ("*",)),
        ("btc,ALL", ("btc_usd", "*")),
        ("*_USD,*_usdc,*_usd", ("*_usd", "*_usdc")),
    ],
)
def test_tickers_are_names_and_patterns(
    written: str, tickers: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUOTES_TICKERS", written)

    assert Settings.load().tickers == tickers


@pytest.mark.parametrize("tickers", [",", "btc_usd,*_us d", "*__usd", "btc_usd,?", "a_b_*"])
def test_what_can_select_no_ticker_is_refused(
    tickers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal(monkeypatch, "QUOTES_TICKERS", tickers)


@pytest.mark.parametrize("folder", ["~nosuchuser/q", "~nosuchuser", "/tmp/a\nb"])  # noqa: S108
def test_a_data_folder_that_cannot_be_is_refused(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal(monkeypatch, "QUOTES_DATA_DIR", folder)


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / ".env"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark"])
def test_an_env_file_is_read_in_each_encoding_that_has_a_mark(
    encoding: str, env_file: Path
) -> None:
    text = "QUOTES_DATABASE_URL='postgresql://jürgen@host/db'\nexport quotes_tickers=eth\n"
    if encoding == "utf-16-le-mark":
        env_file.write_bytes(b"\xff\xfe" + text.encode("utf-16-le"))
    else:
        env_file.write_text(text, encoding=encoding)

    settings = Settings.load()

    assert settings.require_database_url() == "postgresql://jürgen@host/db"
    assert settings.tickers == ("eth_usd",)


def test_the_environment_goes_before_the_env_file(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("QUOTES_TICKERS=eth\nQUOTES_PORT=9000\n")
    monkeypatch.setenv("QUOTES_TICKERS", "btc")
    monkeypatch.setenv("QUOTES_PORT", "")

    settings = Settings.load()

    assert (settings.tickers, settings.port) == (("btc_usd",), 9000)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("# für uns\nQUOTES_PORT=1\n".encode("latin-1"), ".env, line 1: this is not UTF-8 text."),
        ("QUOTES_PORT=1\n# für uns\n".encode("latin-1"), ".env, line 2: this is not UTF-8 text."),
        ("QUOTES_PORT=1\n".encode("utf-16-le"), ".env is not UTF-8 text."),
        (b"QUOTES_PORT 1\n", ".env, line 1: this is not NAME=value."),
    ],
)
def test_an_env_file_that_cannot_be_read_is_one_sentence(
    content: bytes, sentence: str, env_file: Path
) -> None:
    env_file.write_bytes(content)

    with pytest.raises(SettingsError) as error:
        Settings.load()

    assert str(error.value).startswith(sentence)


def test_an_env_file_that_is_a_folder_is_one_sentence(env_file: Path) -> None:
    env_file.mkdir()

    with pytest.raises(SettingsError, match=r"^\.env cannot be read \(Is a directory\)\.$"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("QUOTES_TICKER", "QUOTES_TICKERS"),
        ("quotes_max_socket", "QUOTES_MAX_SOCKETS"),
        ("QUOTES_ORIGINS", "QUOTES_ALLOWED_ORIGINS"),
        ("QUOTE_TICKERS", "QUOTES_TICKERS"),
        ("QUOTES_XYZZY_NOTHING_LIKE", None),
    ],
)
def test_a_name_that_is_no_setting_is_reported_with_the_nearest(
    name: str, nearest: str | None, env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text(f"{name}=1\nQUOTES_PUBLISH=8000\nPOSTGRES_PASSWORD=x\n")
    monkeypatch.setenv(name, "1")

    found = [(each.name, each.where, each.nearest) for each in unknown_names()]

    assert found == [(name, "environment", nearest), (name, ".env", nearest)]


def test_a_command_warns_at_its_start_of_a_name_that_is_no_setting() -> None:
    answer = quotes(
        "api", QUOTES_DATABASE_URL="postgresql://h/db", QUOTES_HOSTS="x", QUOTES_HOST="?"
    )

    first, *_ = answer.stderr.splitlines()
    line = json.loads(first)
    assert (line["event"], line["name"], line["nearest"]) == (
        "setting_unknown",
        "QUOTES_HOSTS",
        "QUOTES_HOST",
    )
