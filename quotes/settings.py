"""What can be set: the environment, or a `.env` file in the folder the command runs in."""

import os
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from platformdirs import user_data_path
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from quotes import addresses, env_file, logs
from quotes.market import selection
from quotes.market.selection import Selection

PREFIX = "QUOTES_"
MAX_COST = 1_000  # points of one operation; docs/cost.md has what they are
# Not ours to read, and no mistakes either: docker-compose.yml's and the tests'.
_OTHERS = {f"{PREFIX}PUBLISH", f"{PREFIX}TEST_DATABASE_URL", f"{PREFIX}TEST_REDIS_URL"}
# The exit statuses of every command and process: something failed, and another attempt may succeed;
# something has to be set otherwise first.
FAILED, REFUSED = 1, 2
_LIKE = 0.6  # how much of a name has to agree for a suggestion (difflib's ratio)
_VERY_LIKE = 0.9  # the same for a name that does not even begin with QUOTES_


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable and how to correct it."""


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A variable that looks like a setting and is none."""

    name: str
    where: str  # "environment" or ".env"
    nearest: str | None  # the setting that was probably meant


def _database_url(secret: SecretStr) -> SecretStr:
    addresses.check_database(secret.get_secret_value())
    return secret


def _redis_url(secret: SecretStr) -> SecretStr:
    addresses.check_redis(secret.get_secret_value())
    return secret


def _words(text: object) -> object:
    if isinstance(text, str):
        return tuple(word.strip() for word in text.split(",") if word.strip())
    return text


def _folder(path: Path) -> Path:
    if any(not character.isprintable() for character in str(path)):
        raise ValueError("holds a line break or another invisible character")
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"{path.parts[0]} is nobody's home on this machine") from None


def _data_dir() -> Path:
    # Embedded servers refuse to run as root, and their own user could not enter root's home.
    return Path("/var/lib/quotes") if os.getuid() == 0 else user_data_path("quotes")


def _host(name: str) -> str:
    return name.removeprefix("[").removesuffix("]")  # an IPv6 address as it stands in a URL


class _EnvFile(PydanticBaseSettingsSource):
    """`.env`, whose names are taken in any case, as the environment's are."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # only called by the base class's own __call__

    def __call__(self) -> dict[str, Any]:
        given = {name.upper(): value for name, value in env_file.read().items()}
        fields = {name: given.get(PREFIX + name.upper()) for name in self.settings_cls.model_fields}
        return {name: value for name, value in fields.items() if value}


class Settings(BaseSettings):
    """Each field is the variable QUOTES_<NAME>; docs/settings.md has what each is for."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,  # a URL may hold a password
    )

    database_url: Annotated[SecretStr, AfterValidator(_database_url)] | None = None
    replica_url: Annotated[SecretStr, AfterValidator(_database_url)] | None = None
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = None
    data_dir: Annotated[Path, AfterValidator(_folder)] = Field(default_factory=_data_dir)
    tickers: Annotated[tuple[str, ...], NoDecode] = ("btc_usd", "eth_usd")
    deribit_url: Annotated[str, AfterValidator(addresses.check_http)] = (
        "https://www.deribit.com/api/v2"
    )
    host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    root_path: Annotated[str, AfterValidator(addresses.root_path)] = ""
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = ()
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ()
    max_connections: int = Field(default=5_000, ge=1)
    max_connections_per_address: int = Field(default=500, ge=1)
    max_sockets: int = Field(default=10_000, ge=1)
    max_sockets_per_address: int = Field(default=500, ge=1)
    max_operations: int = Field(default=100, ge=1)
    points_per_minute: int = Field(default=0, ge=0)  # 0 is no limit
    max_url: int = Field(default=16_384, ge=256)  # bytes, as the others
    max_headers: int = Field(default=16_384, ge=1_024)
    max_header_fields: int = Field(default=100, ge=20)
    max_body: int = Field(default=131_072, ge=1_024)
    first_byte_timeout: float = Field(default=10, gt=0, le=3_600)  # seconds, as the others
    header_timeout: float = Field(default=10, gt=0, le=3_600)
    body_timeout: float = Field(default=10, gt=0, le=3_600)
    body_rate: int = Field(default=1_000, ge=1)  # bytes a second
    keep_alive: int = Field(default=20, ge=1, le=3_600)
    query_connections: int = Field(default=8, ge=2)
    query_wait: float = Field(default=0.15, ge=0, le=60)
    max_exports: int = Field(default=4, ge=1)
    answer_cache: int = Field(default=64, ge=0)  # MiB
    replay_connections: int = Field(default=2, ge=1)
    access: Literal["open", "token"] = "open"
    introspection: bool = True
    keep_months: int | None = Field(default=None, ge=1, le=1_200)
    drain: float = Field(default=0, ge=0, le=300)  # seconds
    metrics_port: int | None = Field(default=None, ge=1, le=65533)  # and the two after it
    metrics_host: Annotated[str, AfterValidator(_host)] = "127.0.0.1"
    log_format: logs.Style = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )
    log_level: logs.Level = "info"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _EnvFile(settings_cls)

    @field_validator("tickers", "allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        return _words(text)

    @field_validator("access", "log_format", "log_level", mode="before")
    @classmethod
    def _in_any_case(cls, word: object) -> object:
        return word.lower() if isinstance(word, str) else word

    @field_validator("tickers")
    @classmethod
    def _are_tickers_or_patterns(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if not words:
            raise ValueError("must name at least one ticker, as in btc_usd,eth_usd, or be all")
        return tuple(dict.fromkeys(map(selection.word, words)))

    @field_validator("points_per_minute")
    @classmethod
    def _is_enough_for_each_operation(cls, points: int) -> int:
        if 0 < points < MAX_COST:
            raise ValueError(f"must be at least {MAX_COST:,}, which one operation may cost, or 0")
        return points

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(addresses.origin, origins)))

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(addresses.network, proxies)))

    @classmethod
    def load(cls) -> Self:
        """Read the environment once. Raises SettingsError with one line for each wrong variable."""
        try:
            return cls()
        except ValidationError as error:
            faults = error.errors(include_input=False, include_url=False)
            raise SettingsError("\n".join(_sentence(fault) for fault in faults)) from None
        except env_file.EnvFileError as error:
            raise SettingsError(str(error)) from None

    @property
    def selection(self) -> Selection:
        """Of tickers. `database.collected` has those collected now."""
        return Selection.of(self.tickers)

    def require_database_url(self) -> str:
        return _required(self.database_url, "DATABASE_URL", "postgresql://user@host/quotes")

    def require_redis_url(self) -> str:
        return _required(self.redis_url, "REDIS_URL", "redis://host:6379/0")


def unknown_names() -> list[UnknownName]:
    """What is set and looks like a setting, but is none: a typo would else be silent."""
    places = {"environment": list(os.environ), env_file.NAME: list(env_file.read())}
    known = sorted(PREFIX + name.upper() for name in Settings.model_fields)
    return [
        UnknownName(name, where, next(iter(nearest), None))
        for where, names in places.items()
        for name in names
        if (nearest := _nearest(name.upper(), known)) is not None
    ]


def _nearest(name: str, known: list[str]) -> list[str] | None:
    """The setting that was probably meant; None where the name is right, or no name of ours."""
    if name in known or name in _OTHERS:
        return None
    if name.startswith(PREFIX):
        return get_close_matches(name, known, n=1, cutoff=_LIKE)
    return get_close_matches(name, known, n=1, cutoff=_VERY_LIKE) or None


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
