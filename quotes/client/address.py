"""The URL of a service, as a person gives it."""

from urllib.parse import urlsplit

from quotes.client.errors import AddressError

_PATH = "/graphql"


def endpoint(url: str) -> str:
    """Its GraphQL endpoint. Raises AddressError, which repeats nothing that may be secret."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise AddressError("That is no URL; write it as in http://127.0.0.1:8000") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise AddressError("A service's URL begins with http:// or https://, then its host")
    if parts.username is not None or parts.password is not None:
        raise AddressError("Give the access token as `token`, and no password in the URL")
    if parts.query or parts.fragment:
        raise AddressError("A service's URL ends with its path, without ? and #")
    path = parts.path.rstrip("/").removesuffix(_PATH)
    return parts._replace(path=path + _PATH).geturl()


def authorization(token: str | None) -> dict[str, str]:
    """The header that carries it. Raises ValueError, without the token, where none can."""
    if token is None:
        return {}
    if not token.strip() or not (token.isascii() and token.isprintable()):
        raise ValueError("`token` is empty, or holds a character that no access token has")
    return {"Authorization": f"Bearer {token.strip()}"}
