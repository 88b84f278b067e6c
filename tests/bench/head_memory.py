#!/usr/bin/env python3
"""What a request costs in a worker's memory while its answer is awaited, and a connection while it asks for nothing: by the shape of the head, beside the limit of
heads (limits.headerBytes + limits.requestLine, 40 KiB). Needs a release build; prints a table for docs/security.md. Figures are of private memory (RssAnon), the
growth by COUNT of each, so a first request's buffers are in them. Usage: head_memory.py [COUNT]"""
import contextlib
import os
import re
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib.gateway import CLASS, Gateway, ingress, service, slurp  # noqa: E402

LIMIT = 40 * 1024
HOST = b'a.example'
H1 = b'GET / HTTP/1.1\r\nHost: ' + HOST + b'\r\n'


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + payload


def number(value, prefix=7):
    """RFC 7541 5.1, without a flag before it."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([value])
    out, value = bytes([most]), value - most
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def literal(name, value):
    return b'\x00' + number(len(name)) + name + number(len(value)) + value


def http2(*fields):
    """A preface and a request in frames of 16 KiB at most."""
    block = b'\x82\x86\x84\x01' + number(len(HOST)) + HOST + b''.join(literal(*field) for field in fields)
    pieces = [block[i:i + 16384] for i in range(0, len(block), 16384)]
    out = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0, b'')
    for i, piece in enumerate(pieces):
        out += frame(9 if i else 1, (4 if i == len(pieces) - 1 else 0) | (0 if i else 1), 1, piece)
    return out


def fields(count, size):
    return [(b'x%02d' % i, b'v' * size) for i in range(count)]


def http1(*pairs):
    return H1 + b''.join(name + b': ' + value + b'\r\n' for name, value in pairs) + b'\r\n'


CASES = {
    'HTTP/1.1: smallest head': http1(),
    'HTTP/1.1: 99 fields of one byte': http1(*fields(99, 1)),
    'HTTP/1.1: one field of 32 KiB': http1(*fields(1, 32000)),
    'HTTP/1.1: 99 fields, 32 KiB together': http1(*fields(99, 320)),
    'HTTP/1.1: 32 KiB of a head without its end': http1(*fields(99, 320))[:-4],
    'HTTP/2: smallest head, connection included': http2(),
    'HTTP/2: 99 fields of one byte': http2(*fields(99, 1)),
    'HTTP/2: one field of 32 KiB': http2(*fields(1, 32000)),
    'HTTP/2: 99 fields, 32 KiB together': http2(*fields(99, 320)),
    'HTTP/2: 32 KiB of a head without its end': http2(*fields(99, 320))[:-4],
    'HTTP/1.1 connection that is idle': b'',
    'HTTP/2 connection that is idle': http2()[:33],
}


def private(pid):
    return int(re.search(r'RssAnon:\s+(\d+)', slurp(f'/proc/{pid}/status'))[1]) * 1024


def settled(pid):
    """When it has not changed for a while."""
    last, same = private(pid), 0
    while same < 10:
        time.sleep(0.05)
        now = private(pid)
        same, last = (same + 1 if now == last else 0), now
    return last


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(('127.0.0.1', 0), backlog=4096))
        objects = [CLASS] + service('silent', [silent.getsockname()[1]]) + [ingress('silent', HOST.decode(), 'silent')]
        print('| request, while it waits | bytes sent | held a request, KiB | of the limit of heads (40 KiB) |\n|---|---|---|---|')
        for name, data in CASES.items():
            # A worker of its own for each: memory that one case has freed is not the next one's.
            with Gateway(objects, config='timeouts: {requestHeader: 10m, upstreamResponse: 10m}') as gateway, contextlib.ExitStack() as clients:
                pid = gateway.pids('worker')[0]
                before = settled(pid)
                for _ in range(count):
                    client = clients.enter_context(gateway.connect())
                    client.sendall(data)
                gateway.until(lambda: f'\nsluice_connections_active {count}\n' in gateway.metrics(), what='all are there')
                held = (settled(pid) - before) / count
                print(f'| {name} | {len(data):,} | {held / 1024:.1f} | {held / LIMIT:.2f} x |', flush=True)
                while True:  # its connections: not the next case's either
                    silent.settimeout(0.2)
                    try:
                        silent.accept()[0].close()
                    except OSError:
                        break


if __name__ == '__main__':
    main()
