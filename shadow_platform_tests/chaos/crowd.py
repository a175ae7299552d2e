"""Thousands of callers at once, in a process of their own: ``python -m shadow_platform_tests.chaos.crowd URL N BODY``.

Every caller opens a connection. Once all have one, each sends its request except for the last byte, so that all of them
are in flight before one can be answered, and none waits for the slowest connection within its body. Then those still
waiting send the rest. Prints how many answers of which status came, and how many
callers got none. Upstream: the test of crowds. Downstream: a running service.
"""

import asyncio
import json
import resource
import sys
from collections import Counter
from urllib.parse import urlsplit

TIMEOUT_S = 300.0


async def ask(host: str, port: int, request: bytes, everybody: asyncio.Barrier) -> str:
    """Status of one caller's answer, with ``+`` when it says when to try again; or what happened instead."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        for _ in ("connected", "sent"):
            await everybody.wait()
        return type(error).__name__
    try:
        await everybody.wait()
        writer.write(request[:-1])
        await writer.drain()
        await everybody.wait()
        writer.write(request[-1:])
        head = await reader.readuntil(b"\r\n\r\n")
        return head.split(b" ", 2)[1].decode() + ("+" if b"\r\nretry-after:" in head.lower() else "")
    except (OSError, asyncio.IncompleteReadError) as error:
        return type(error).__name__
    finally:
        writer.close()


async def crowd(url: str, n: int, body: bytes) -> Counter[str]:
    """Answers of all callers."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    head = f"POST /predict HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-length: {len(body)}\r\n\r\n"
    everybody = asyncio.Barrier(n)
    request = head.encode() + body
    callers = (asyncio.wait_for(ask(parts.hostname, parts.port, request, everybody), TIMEOUT_S) for _ in range(n))
    return Counter(
        found if isinstance(found, str) else type(found).__name__
        for found in await asyncio.gather(*callers, return_exceptions=True)
    )


if __name__ == "__main__":
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(asyncio.run(crowd(sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()))))
