#!/usr/bin/python3
"""The WebSocket library `websockets` as server and as client. Debian's python3 runs it: python3-websockets is a package of Debian's.
  websockets_peer.py serve                      prints its port
  websockets_peer.py check ADDRESS HOST [CA]    a line for each case: "ok NAME" or "FAIL NAME: why" """
import asyncio
import ssl
import sys

import websockets

PATIENCE = 60  # with a peer that says nothing: a hang becomes a failure
LARGE = 4 * 1024 * 1024


async def answer(socket):
    if socket.path == '/leave':
        return await socket.close(1011, 'has seen enough')
    if socket.path == '/pieces':
        await socket.send([b'one ', b'two ', b'three'])
    try:
        async for message in socket:
            await socket.send(message)
    except websockets.ConnectionClosedError:
        pass  # with a code of the client's own


async def serve():
    async with websockets.serve(answer, '127.0.0.1', 0, subprotocols=['superchat', 'chat'], max_size=2 * LARGE) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()


class Cases:
    """Each method is a case; False or an exception is a failure."""

    def __init__(self, address, host, ca):
        self.address, self.host = address, host
        self.context = ssl.create_default_context(cafile=ca) if ca else None

    def connect(self, path='/', **more):
        name, _, port = self.address.rpartition(':')
        if self.context:
            more |= {'ssl': self.context, 'server_hostname': self.host}
        return websockets.connect(f'{"wss" if self.context else "ws"}://{self.host}{path}', host=name, port=int(port), max_size=2 * LARGE, **more)

    async def echo(self):
        async with self.connect() as socket:
            for message in ('', 'text \u00e9\u20ac', b'', b'\x00\xff' * 60, b'x' * 65536):
                await socket.send(message)
                if await socket.recv() != message:
                    return False
        return True

    async def large_messages(self):
        async with self.connect(compression=None) as socket:
            await socket.send(b'abcd' * (LARGE // 4))
            return await socket.recv() == b'abcd' * (LARGE // 4)

    async def compressed(self):
        async with self.connect(compression='deflate') as socket:
            await socket.send('a' * LARGE)
            return await socket.recv() == 'a' * LARGE and [e.name for e in socket.extensions] == ['permessage-deflate']

    async def in_pieces(self):
        async with self.connect('/pieces') as socket:
            await socket.send(['a', 'b', 'c'])
            return (await socket.recv(), await socket.recv()) == (b'one two three', 'abc')

    async def subprotocols(self):
        async with self.connect(subprotocols=['chat']) as socket:
            return socket.subprotocol == 'chat'

    async def pings(self):
        async with self.connect() as socket:
            await asyncio.gather(*[await socket.ping(b'%d' % i) for i in range(10)])
            return True

    async def both_ways_at_once(self):
        async with self.connect() as socket:
            async def pour():
                for i in range(500):
                    await socket.send(f'{i}' * 500)
            task = asyncio.ensure_future(pour())
            got = [await socket.recv() for _ in range(500)]
            await task
            return got == [f'{i}' * 500 for i in range(500)]

    async def the_client_closes(self):
        socket = await self.connect()
        await socket.close(4321, 'own code')
        return (socket.close_code, socket.close_reason) == (4321, 'own code')

    async def the_server_closes(self):
        async with self.connect('/leave') as socket:
            try:
                await socket.recv()
            except websockets.ConnectionClosedError as e:
                return (e.rcvd.code, e.rcvd.reason) == (1011, 'has seen enough')
        return False

    async def fifty_at_once(self):
        async def one(i):
            async with self.connect() as socket:
                await socket.send(f'{i}')
                return await socket.recv() == f'{i}'
        return all(await asyncio.gather(*map(one, range(50))))


async def check(address, host, ca=None):
    cases, bad = Cases(address, host, ca), 0
    for name in [n for n in vars(Cases) if not n.startswith('_') and n != 'connect']:
        try:
            why = '' if await asyncio.wait_for(getattr(cases, name)(), PATIENCE) else 'not what was expected'
        except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as e:
            why = repr(e)
        bad += bool(why)
        print(f'FAIL {name}: {why}' if why else f'ok {name}', flush=True)
    return bad


if __name__ == '__main__':
    sys.exit(asyncio.run(serve() if sys.argv[1] == 'serve' else check(*sys.argv[2:])) != 0)
