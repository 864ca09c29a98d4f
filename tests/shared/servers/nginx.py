"""Debian's nginx, run with the example of the documents."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from paths import ROOT
from processes import free_port
from rows import wait

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
EXAMPLE = ROOT / "docs/nginx.conf"
MAIN = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    include {folder}/quotes.conf;
}}
"""

needs_nginx = pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")


@asynccontextmanager
async def nginx(folder: Path, *apis: int) -> AsyncIterator[str]:
    """In front of the API processes at these two ports. Its URL, with the path."""
    port = free_port()
    example = EXAMPLE.read_text()
    for documented, own in zip(("127.0.0.1:8000", "127.0.0.1:8001"), apis, strict=True):
        assert example.count(documented) == 1
        example = example.replace(documented, f"127.0.0.1:{own}")
    example, listens = re.subn(r"listen 80;", f"listen 127.0.0.1:{port};", example)
    assert listens == 1
    (folder / "quotes.conf").write_text(example)
    (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
    process = await asyncio.create_subprocess_exec(NGINX, "-c", folder / "nginx.conf")
    try:
        await wait(lambda: _accepts(port), bool)
        yield f"http://127.0.0.1:{port}/prices"
    finally:
        process.terminate()
        async with asyncio.timeout(20):
            await process.wait()


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True
