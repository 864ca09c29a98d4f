"""Addresses as people write them: which can work, and how one is shown without its secrets."""

import ipaddress
import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import idna

_ESCAPES = (
    "in a user name or password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, "
    "[ as %5B and ] as %5D"
)
# libpq's, unknown to asyncpg, which would take them for settings of the server. The first only tune
# the connection, which has limits of its own here; without the others it would be less safe.
IGNORED = frozenset(
    {
        *("connect_timeout", "fallback_application_name", "load_balance_hosts", "tcp_user_timeout"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("gssencmode", "gssdelegation", "sslcompression", "sslsni"),
    }
)
_UNSUPPORTED = ("channel_binding", "hostaddr", "require_auth", "requirepeer", "sslcertmode")
_NO_ADDRESS = "has a host that is no address; write it as 192.0.2.1 or [2001:db8::1]"
_HOST = re.compile(r"(?P<name>\[[^\[\]]+\]|[^:\[\]]+)(?::(?P<port>\d*))?", re.ASCII)
_LARGEST_PORT = 65_535
_DEFAULT_PORTS = {"http": 80, "https": 443}
_ORIGIN_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?", re.ASCII)
_ROOT_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


def check_database(url: str) -> None:
    """Raises ValueError, with a sentence that shows nothing of the URL, where it cannot work.

    It may name several hosts, each with its port, a socket's folder, or leave all to libpq's
    environment.
    """
    parts = _split(url, ("postgresql", "postgres"))
    user, _, hosts = parts.netloc.rpartition("@")
    if "@" in user:  # asyncpg takes the first for the end of the password
        raise ValueError(f"has more than one @: {_ESCAPES}")
    places = [_check_host(host) for host in hosts.split(",")] if hosts else []
    named = _check_query(parts.query)
    if not places and "host" in named:
        places = [(host, None) for host in named["host"].split(",")]
    for name in _UNSUPPORTED:
        if name in named:
            raise ValueError(f"has {name}, which asyncpg does not support: leave it out")
    if "port" in named:
        _check_ports(named["port"].split(","), max(1, len(places)))


def check_redis(url: str) -> None:
    """Raises ValueError, with a sentence that shows nothing of the URL, where it cannot work."""
    schemes = ("redis", "rediss", "unix")
    parts = _split(url, schemes)
    if not url.startswith(schemes):
        raise ValueError("must begin in lower case, as redis://")
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme == "unix":
        if not parts.path.strip("/"):
            raise ValueError("must name a socket, as unix:///folder/valkey.sock?db=0")
    elif host:
        _check_host(host)
    if parts.scheme != "unix" and not re.fullmatch(r"(/\d*)?", parts.path, re.ASCII):
        raise ValueError("must end with the database's number, as redis://host:6379/0")
    _check_query(parts.query)


def check_http(url: str) -> str:
    """The URL without a slash at its end. Raises ValueError, with a sentence, as the others."""
    parts = _split(url, ("http", "https"))
    if "@" in parts.netloc:
        raise ValueError("must hold no user name and no password")
    if parts.query or "?" in url:
        raise ValueError("must hold nothing after a question mark")
    _check_host(parts.netloc)
    return url.rstrip("/")


def shown(url: str) -> str:
    """The hosts of a checked URL and nothing else: all the rest may be a secret."""
    parts = urlsplit(url)
    hosts = unquote(parts.netloc.rpartition("@")[2])
    if parts.scheme == "unix":
        return unquote(parts.path)
    named = dict(parse_qsl(parts.query))
    return hosts or ":".join(filter(None, (named.get("host"), named.get("port")))) or "default host"


def origin(text: str) -> str:
    """The origin as browsers send it. Raises ValueError, with a sentence, where none could match.

    Browsers write scheme and host in lower case, names in ASCII, and leave the usual port out.
    """
    if text in {"*", "null"}:
        raise ValueError(f"cannot be {text}: name each origin, as https://app.example.com")
    parts = _split(text, ("http", "https"))
    if "@" in parts.netloc:
        raise ValueError("must hold no user name and no password: an origin has none")
    if parts.path not in {"", "/"} or parts.query or text.endswith("?"):
        raise ValueError("must end after the host and its port: an origin has no path")
    named, port = _check_host(parts.netloc)
    if "%" in named:
        raise ValueError("has a host that is no domain name")
    host = f"[{_ipv6(named[1:-1])}]" if named.startswith("[") else _origin_host(named)
    usual = port is None or port == _DEFAULT_PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{port}"


def network(text: str) -> str:
    """An address or a network as it is written shortest. Raises ValueError, with a sentence."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            f"{text[:60]} is neither an address, as 192.0.2.1, nor a network, as 192.0.2.0/24"
        ) from None
    return str(found.network_address) if found.num_addresses == 1 else str(found)


def root_path(path: str) -> str:
    """The path without a slash at its end; "/" is none. Raises ValueError, with a sentence."""
    path = path.rstrip("/")
    if path and not _ROOT_PATH.fullmatch(path):
        raise ValueError("must be a path of letters, digits and ._~-, as /prices or /our/prices")
    return path


def _split(url: str, schemes: tuple[str, ...]) -> SplitResult:
    if any(not character.isprintable() for character in url):
        raise ValueError("holds a line break or another invisible character")
    scheme = url.partition("://")[0].lower()
    if scheme not in schemes or "://" not in url:
        raise ValueError("must begin with " + " or ".join(f"{name}://" for name in schemes))
    if "#" in url:
        raise ValueError(f"holds a #: {_ESCAPES}")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"is not a URL: {_ESCAPES}") from None
    # What stands before such an @ is a password with an unescaped / or ?.
    if "@" in parts.path or ("@" in parts.query and "@" not in parts.netloc):
        raise ValueError(f"has an @ after its host: {_ESCAPES}")
    return parts


def _check_host(host: str) -> tuple[str, int | None]:
    """The name and the port of one host. Never shows it: it may be a piece of a password."""
    match = _HOST.fullmatch(host)
    if match is None:
        raise ValueError(f"is not a URL with host:port: {_ESCAPES}")
    if match["name"].startswith("["):
        _ipv6(match["name"][1:-1])
    if not match["port"]:
        return match["name"], None
    port = int(match["port"])
    if not 1 <= port <= _LARGEST_PORT:
        raise ValueError(f"has a port outside of 1 to {_LARGEST_PORT}")
    return match["name"], port


def _check_ports(ports: list[str], hosts: int) -> None:
    for port in ports:
        _check_host(f"host:{port}")
    if len(ports) not in {1, hosts}:
        raise ValueError(f"names {len(ports)} ports for {hosts} hosts")


def _check_query(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError("must hold name=value after its question mark, joined by &") from None


def _ipv6(text: str) -> str:
    """The address in its shortest form, with its zone if it has one."""
    try:
        return ipaddress.IPv6Address(text).compressed
    except ValueError:
        raise ValueError(_NO_ADDRESS) from None


def _origin_host(name: str) -> str:
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("has a host that is no domain name; try it in punycode") from None
    name = name.lower()
    if not _ORIGIN_HOST.fullmatch(name) or ".." in name:
        raise ValueError("has a host that is no domain name")
    if _NUMBER.fullmatch(name.rstrip(".").rpartition(".")[2]):  # browsers take this for an address
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise ValueError(_NO_ADDRESS) from None
    return name
