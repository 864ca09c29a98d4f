"""What can be set: the environment, or a `.env` file in the folder the command runs in."""

import os
import sys
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from quotes.market import tickers

PREFIX = "QUOTES_"


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable and how to mend it."""


def _url_of(*schemes: str) -> AfterValidator:
    def check(secret: SecretStr) -> SecretStr:
        url = secret.get_secret_value()
        try:
            parts = urlsplit(url)
            _ = parts.port  # raises where the port is no number
        except ValueError as error:
            raise ValueError("is not a URL; write it as " + schemes[0] + "://...") from error
        if parts.scheme not in schemes or len(url) <= len(parts.scheme) + len("://"):
            raise ValueError("must begin with " + " or ".join(f"{name}://" for name in schemes))
        return secret

    return AfterValidator(check)


def _words(text: object) -> object:
    if isinstance(text, str):
        return tuple(word.strip() for word in text.split(",") if word.strip())
    return text


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    return url.rstrip("/")


def _data_dir() -> Path:
    # Embedded servers refuse to run as root, and their own user could not enter root's home.
    return Path("/var/lib/quotes") if os.getuid() == 0 else user_data_path("quotes")


DatabaseUrl = Annotated[SecretStr, _url_of("postgresql", "postgres")]
RedisUrl = Annotated[SecretStr, _url_of("redis", "rediss", "unix")]


class Settings(BaseSettings):
    """Each field is the variable QUOTES_<NAME>; the README's table tells what each is for."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a URL may hold a password
    )

    database_url: DatabaseUrl | None = None
    redis_url: RedisUrl | None = None
    data_dir: Path = Field(default_factory=_data_dir)
    tickers: Annotated[tuple[str, ...], NoDecode] = ("btc_usd", "eth_usd")
    deribit_url: Annotated[str, AfterValidator(_http_url)] = "https://www.deribit.com/api/v2"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    max_sockets: int = Field(default=10_000, ge=1)
    max_sockets_per_address: int = Field(default=500, ge=1)
    max_operations: int = Field(default=100, ge=1)
    query_connections: int = Field(default=8, ge=2)
    replay_connections: int = Field(default=2, ge=1)
    log_format: Literal["console", "json"] = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )

    @field_validator("tickers", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        return _words(text)

    @field_validator("tickers")
    @classmethod
    def _known_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError("must name at least one ticker, as in btc_usd,eth_usd")
        return tuple(dict.fromkeys(tickers.parse(name) for name in names))

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_http_url(origin) for origin in origins)

    @classmethod
    def load(cls) -> Self:
        """Read the environment once. Raises SettingsError with one line for each wrong variable."""
        try:
            return cls()
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            raise SettingsError("\n".join(_sentence(fault) for fault in faults)) from None

    def require_database_url(self) -> str:
        return _required(self.database_url, "DATABASE_URL", "postgresql://user@host/quotes")

    def require_redis_url(self) -> str:
        return _required(self.redis_url, "REDIS_URL", "redis://host:6379/0")


def _sentence(fault: ErrorDetails) -> str:
    name = PREFIX + str(fault["loc"][0]).upper()
    return f"{name}: {fault['msg'].removeprefix('Value error, ')}"


def _required(secret: SecretStr | None, name: str, example: str) -> str:
    if secret is None:
        raise SettingsError(
            f"{PREFIX}{name} is not set. Set it to {example}, "
            "or use `./dev up`, which starts a server of its own."
        )
    return secret.get_secret_value()
