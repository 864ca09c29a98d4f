"""What can be seen on this machine: the queue's server, the disk, the names, the page."""

import shutil
from urllib.parse import urlsplit

import redis

from quotes import addresses
from quotes.local.doctor.findings import Finding, failed, ok, warning
from quotes.market.sources import is_loopback
from quotes.server.pages import NOT_BUILT, Site
from quotes.settings import Settings

TIMEOUT = 5.0  # seconds to connect to the queue's server, and for each answer
POLICY = "noeviction"
LEAST_FREE = 1 << 30  # bytes


def queue(settings: Settings) -> Finding:
    url = settings.require_redis_url()
    where = addresses.shown(url)
    try:
        with redis.Redis.from_url(
            url, socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT
        ) as client:
            found = client.info()
    except (redis.RedisError, OSError) as error:
        text = f"The server at {where} cannot be used: {str(error).rstrip('.')}."
        return failed("redis", text, "Start it, or correct QUOTES_REDIS_URL.")
    if found.get("role") != "master":
        text = f"The server at {where} is a replica, which cannot be written to."
        return failed("redis", text, "Let QUOTES_REDIS_URL lead to the primary.")
    policy = found.get("maxmemory_policy", POLICY)
    if policy != POLICY:
        text = f"The server at {where} drops messages when its memory is full ({policy})."
        return failed("redis", text, f"Set its maxmemory-policy to {POLICY}.")
    return ok("redis", f"The server at {where} answers, with {policy}.")


def disk(settings: Settings) -> Finding:
    """Of embedded servers, where there are any. That of other servers cannot be seen from here."""
    folder = settings.data_dir
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:,.1f} GB are free in {folder}."
    if free < LEAST_FREE:
        remedy = "Make room, or set QUOTES_DATA_DIR to a folder on a larger disk."
        return failed("disk", text, remedy)
    return ok("disk", text)


def names(settings: Settings) -> Finding:
    """By which names browsers may use this service: by others it answers 421."""
    hosts = [urlsplit(origin).netloc for origin in settings.allowed_origins]
    if hosts:
        text = f"Browsers may use it as {', '.join(hosts)}, and from pages there."
        return ok("names", text)
    text = "Browsers may use it by its address and by names without a dot, as localhost"
    if is_loopback(settings.host):
        return ok("names", f"{text}.")
    remedy = "Set QUOTES_ALLOWED_ORIGINS to its public origin, as https://prices.example.com."
    return warning("names", f"{text}; other names are answered with 421.", remedy)


def page(site: Site) -> Finding:
    if site.built:
        return ok("page", "The page and the explorer are built.")
    text, _, remedy = NOT_BUILT.strip().partition(". ")
    return warning("page", f"{text}.", remedy)
