"""A client of the official SDK for Python, which python.test.ts drives.

Reads tool calls and the redirects of logins from stdin, and writes events to stdout; both are lines of JSON.
"""

import asyncio
import json
import sys
import time

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

OPTIONS = json.loads(sys.argv[1])


def report(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


async def read():
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


class Storage:
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def redirect(url):
    report("login", url=url)


async def redirected():
    return AuthorizationCodeResult(**await read())


async def on_response(response):
    report("response", method=response.request.method, url=str(response.request.url), status=response.status_code)


async def on_message(message):
    report("message", type=type(message).__name__)


async def call(client, tool, arguments=None):
    started = []

    async def on_progress(progress, total, message):
        started.append(time.monotonic())

    result = await client.call_tool(tool, arguments, progress_callback=on_progress)
    ahead = time.monotonic() - started[0] if started else 0
    report("result", text=result.content[0].text, progress=len(started), ahead=ahead)


async def main():
    metadata = OAuthClientMetadata.model_validate(OPTIONS["metadata"])
    storage = Storage()
    if "clientId" in OPTIONS:
        storage.client = OAuthClientInformationFull(client_id=OPTIONS["clientId"], **metadata.model_dump())
    auth = OAuthClientProvider(
        OPTIONS["url"], metadata, storage, redirect, redirected, client_metadata_url=OPTIONS.get("metadataUrl")
    )
    async with httpx2.AsyncClient(auth=auth, timeout=30, event_hooks={"response": [on_response]}) as http:
        transport = streamable_http_client(OPTIONS["url"], http_client=http)
        async with Client(transport, mode=OPTIONS["mode"], message_handler=on_message) as client:
            tools = await client.list_tools()
            report("connected", version=client.protocol_version, tools=[tool.name for tool in tools.tools])
            while command := await read():
                await call(client, **command)


asyncio.run(main())
