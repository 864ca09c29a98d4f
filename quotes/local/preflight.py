"""Checks before `up` starts anything; each error is a sentence that says what to do."""

import errno
import socket


class PreflightError(Exception):
    """Something in the environment prevents the start."""


def check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except (OSError, UnicodeError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise PreflightError(
                f"Port {port} on {host} is in use by another program. "
                "Stop that one, or set QUOTES_PORT to a free port."
            ) from None
        raise PreflightError(
            f"Cannot listen on {host}:{port} ({getattr(error, 'strerror', None) or error}). "
            "Set QUOTES_HOST to an address of this machine and QUOTES_PORT to a free port."
        ) from None
