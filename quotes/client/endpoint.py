"""Requests to the service: one query with its retries, one WebSocket with its limits."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp

from quotes.client import address
from quotes.client.backoff import MOST_ASKED_FOR, Backoff
from quotes.client.errors import (
    AddressError,
    QuotesError,
    RefusedError,
    UnauthenticatedError,
    UnreachableError,
    refused,
)

SUBPROTOCOL = "graphql-transport-ws"
TIMEOUT, SILENCE, ATTEMPTS = 30.0, 20.0, 5  # unless a client has others; see Limits
CLOSING = 5.0  # seconds that a server has to answer a close
ACCEPT = "application/graphql-response+json, application/json;q=0.9"
PASSING = {429, 502, 503, 504}  # statuses of a proxy, or of a connection's refusal
CERTIFICATE = "give `ssl` a context that trusts it, if it is right"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of every request."""

    timeout: float  # seconds of one attempt
    silence: float  # seconds without a message until a connection is tested
    attempts: int


class Endpoint:
    """The service at one URL. What it holds is open until `close`."""

    def __init__(
        self, url: str, limits: Limits, *, token: str | None, ssl: ssl.SSLContext | None
    ) -> None:
        self.url = address.endpoint(url)
        self.limits = limits
        self._headers = address.authorization(token)
        self._ssl = ssl or True
        self._http: aiohttp.ClientSession | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        if self._http is None:  # a session belongs to the loop that it is made in
            self._http = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self.limits.timeout), headers=self._headers
            )
        return self._http

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def query(self, document: str, variables: Mapping[str, object]) -> dict[str, Any]:
        """The data of the answer. Raises QuotesError, after `attempts` where they may help."""
        backoff = Backoff()
        for _ in range(self.limits.attempts - 1):
            try:
                return await self._answer(document, variables)
            except (UnreachableError, RefusedError) as error:
                if not may_pass(error):
                    raise
                seconds = backoff.failed(error.retry_after)
            await asyncio.sleep(seconds)
        return await self._answer(document, variables)

    async def _answer(self, document: str, variables: Mapping[str, object]) -> dict[str, Any]:
        body = {"query": document, "variables": variables}
        headers = {"Accept": ACCEPT}
        try:
            async with self.http.post(
                self.url, json=body, headers=headers, ssl=self._ssl, allow_redirects=False
            ) as response:
                text = await response.read()
                status, received = response.status, response.headers
        except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
            raise self._failed(error) from None
        answer = _result(text)
        if answer is None:
            raise self._foreign(status, received)
        if errors := answer.get("errors"):
            refusal = refused(errors[0])
            refusal.retry_after = refusal.retry_after or _retry_after(received)
            raise refusal
        data: dict[str, Any] = answer["data"]
        return data

    @asynccontextmanager
    async def socket(self) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """A WebSocket that is closed if the server is silent for `silence` seconds and a half."""
        try:
            async with asyncio.timeout(self.limits.timeout):
                socket = await self.http.ws_connect(
                    self.url,
                    protocols=[SUBPROTOCOL],
                    heartbeat=self.limits.silence,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING),
                    ssl=self._ssl,
                )
        except aiohttp.WSServerHandshakeError as error:
            raise self._foreign(error.status, error.headers or {}) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._failed(error) from None
        try:
            yield socket
        finally:
            await socket.close()

    def _failed(self, error: Exception) -> QuotesError:
        """The exception for a request that got no answer."""
        match error:
            case aiohttp.ClientConnectorCertificateError():
                return AddressError(
                    f"The TLS certificate of {self.url} is not trusted; {CERTIFICATE}: "
                    f"{error.certificate_error}"
                )
            case aiohttp.ClientConnectorSSLError():
                return AddressError(f"{self.url} does not speak TLS; perhaps it begins with http:")
            case TimeoutError():
                return UnreachableError(
                    f"{self.url} did not answer within {self.limits.timeout:g} s."
                )
            case aiohttp.ClientConnectorError():
                reason = error.os_error.strerror or error.os_error
                return UnreachableError(f"{self.url} cannot be reached: {reason}")
            case _:
                reason = str(error) or type(error).__name__
                return UnreachableError(f"{self.url} gave no answer: {reason}")

    def _foreign(self, status: int, headers: Mapping[str, str]) -> QuotesError:
        """The exception for an answer that is none of GraphQL, or of no WebSocket."""
        if status in PASSING:
            message = f"{self.url} answered with status {status} just now."
            return UnreachableError(message, _retry_after(headers))
        if status == HTTPStatus.UNAUTHORIZED:
            return UnauthenticatedError(
                f"{self.url} asks for an access token, and none or an unknown one was sent.", {}
            )
        if location := headers.get("Location"):
            return AddressError(f"{self.url} is elsewhere: give {location} as the service's URL.")
        return AddressError(
            f"{self.url} answered with status {status}, and not as a quotes service does: "
            "is that its URL, with the path if it has one?"
        )


def may_pass(error: UnreachableError | RefusedError) -> bool:
    """Whether another attempt may succeed, within a time that is worth waiting for."""
    passes = isinstance(error, UnreachableError) or error.passes
    return passes and (error.retry_after or 0.0) <= MOST_ASKED_FOR


def _result(text: bytes) -> dict[str, Any] | None:
    """The GraphQL result, if it is one."""
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    if isinstance(answer, dict) and (answer.get("errors") or isinstance(answer.get("data"), dict)):
        return answer
    return None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    seconds = headers.get("Retry-After", "")
    return float(seconds) if seconds.isdecimal() else None
