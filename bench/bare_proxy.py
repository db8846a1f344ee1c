"""The least that a proxy in Python can be: bytes in, the same bytes out, nothing understood. What `bench.upstream`
measures the gateway's own work by.

    python -m bench.bare_proxy PORT URL
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

UPSTREAM = web.AppKey("upstream", aiohttp.ClientSession)


async def forward(request: web.Request) -> web.StreamResponse:
    headers = {"Content-Type": request.content_type}
    async with request.app[UPSTREAM].post(request.path, data=await request.read(), headers=headers) as answer:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


def proxy(url: str) -> web.Application:
    async def connected(app: web.Application) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=3)
        async with aiohttp.ClientSession(url, connector=connector, auto_decompress=False) as session:
            app[UPSTREAM] = session
            yield

    app = web.Application()
    app.cleanup_ctx.append(connected)
    app.router.add_post("/{path:.*}", forward)
    return app


if __name__ == "__main__":
    web.run_app(proxy(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), access_log=None)
