"""What an attacker gets out of a proxy: bytes and CPU per byte he sends, requests at the origin per request of his. Fixed amounts of work, not time:
each case sends so many requests on so many connections and waits for what comes back. `amplify.py PORT FILE` is the origin: it counts in FILE."""
import mmap
import os
import selectors
import socket
import struct
import sys
import time

HOST = 'bench.example'
GET = f'GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n'.encode()
FIELDS = b''.join(b'x-%02d: %s\r\n' % (i, b'v' * 60) for i in range(80))

# name: (title, bytes of one request, requests a connection, connections, answers expected)
CASES = {
    'pipelined': ('smallest request that reaches the origin, 2,000 in a row on each connection', GET, 2000, 8),
    'single': ('the same, one a connection', GET.replace(b'\r\n\r\n', b'\r\nConnection: close\r\n\r\n'), 1, 2000),
    'no-route': ('smallest request that is answered here (no such host), 2,000 in a row', b'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 2000, 8),
    'malformed': ('malformed request, one a connection', b'x\r\n\r\n', 1, 2000),
    'chunks': ('POST of 20,000 chunks of one byte', f'POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n'.encode() + b'1\r\nx\r\n' * 20000 + b'0\r\n\r\n', 4, 8),
    'fields': ('80 fields, 5.6 KiB', GET[:-2] + FIELDS + b'\r\n', 200, 8),
    'too-long': ('one field of 256 KiB, one a connection', GET[:-2] + b'x: ' + b'v' * 262144 + b'\r\n\r\n', 1, 200),
    'no-answer': ('GET, and the origin closes without an answer', GET.replace(b'/ ', b'/close ', 1), 1, 500),
}


def origin(port, file):
    """Counts connections, requests, bytes in, bytes out. /N answers N bytes, /close closes."""
    with open(file, 'wb') as f:
        f.truncate(4096)
    with open(file, 'r+b') as f:
        page = mmap.mmap(f.fileno(), 4096)
    counts = [0, 0, 0, 0]
    sel = selectors.DefaultSelector()
    ls = socket.create_server(('127.0.0.1', port), backlog=4096)
    ls.setblocking(False)
    sel.register(ls, selectors.EVENT_READ, None)

    def ask(state, data):
        """Feeds bytes; the sizes of answers owed, None = close."""
        state['in'] += data
        answers = []
        while True:
            if state['body'] is not None:
                end = state['in'].find(b'0\r\n\r\n') if state['body'] == 'chunked' else state['body'] - 5
                # A chunk's own bytes are x only, so "\r\n0\r\n\r\n" is found nowhere else.
                if end < 0 and state['body'] == 'chunked' or len(state['in']) < end + 5:
                    state['in'] = state['in'][-4:] if state['body'] == 'chunked' else state['in']
                    return answers
                state['in'] = state['in'][end + 5:]
                state['body'] = None
                answers.append(state['size'])
            end = state['in'].find(b'\r\n\r\n')
            if end < 0:
                return answers
            head = state['in'][:end].lower()
            state['in'] = state['in'][end + 4:]
            counts[1] += 1
            path = head.split(b' ')[1]
            if path == b'/close':
                return answers + [None]
            state['size'] = int(path[1:] or 0)
            length = [line for line in head.split(b'\r\n') if line.startswith(b'content-length:')]
            if b'transfer-encoding: chunked' in head:
                state['body'] = 'chunked'
            elif length and int(length[0].split(b':')[1]) > 0:
                state['body'] = int(length[0].split(b':')[1])
            else:
                answers.append(state['size'])

    def close(c):
        sel.unregister(c)
        c.close()

    while True:
        for key, events in sel.select():
            if key.data is None:
                c, _ = ls.accept()
                c.setblocking(False)
                c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                counts[0] += 1
                sel.register(c, selectors.EVENT_READ, {'in': b'', 'body': None, 'size': 0, 'out': b''})
                continue
            c, state = key.fileobj, key.data
            try:
                if events & selectors.EVENT_READ:
                    data = c.recv(1 << 18)
                    if not data:
                        close(c)
                        continue
                    counts[2] += len(data)
                    for size in ask(state, data):
                        if size is None:
                            raise ConnectionError
                        state['out'] += b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % size + b'x' * size
                if state['out']:
                    n = c.send(state['out'])
                    counts[3] += n
                    state['out'] = state['out'][n:]
                sel.modify(c, selectors.EVENT_READ | (selectors.EVENT_WRITE if state['out'] else 0), state)
            except BlockingIOError:
                pass
            except OSError:
                close(c)
        page[:32] = struct.pack('<4Q', *counts)


def attack(port, request, each, connections, limit=40):
    """Sends and reads until each connection has its answers or its end. Bytes out, bytes in, status codes by number."""
    sel = selectors.DefaultSelector()
    sent = received = 0
    codes = {}
    left = connections
    whole = request * each

    def begin():
        c = socket.create_connection(('127.0.0.1', port))
        c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.setblocking(False)
        sel.register(c, selectors.EVENT_READ | selectors.EVENT_WRITE, {'at': 0, 'answers': 0, 'tail': b''})

    live = min(8, connections)
    for _ in range(live):
        begin()
    left -= live
    end = time.monotonic() + limit
    while live and time.monotonic() < end:
        for key, events in sel.select(1):
            c, s = key.fileobj, key.data
            over = False
            try:
                if events & selectors.EVENT_WRITE and s['at'] < len(whole):
                    n = c.send(memoryview(whole)[s['at']:s['at'] + (1 << 18)])
                    sent += n
                    s['at'] += n
                    if s['at'] == len(whole):
                        sel.modify(c, selectors.EVENT_READ, s)
                if events & selectors.EVENT_READ:
                    data = c.recv(1 << 18)
                    received += len(data)
                    parts = (s['tail'] + data).split(b'HTTP/1.1 ')
                    for p in parts[1:]:
                        if len(p) >= 3:
                            code = p[:3].decode('latin-1')
                            codes[code] = codes.get(code, 0) + 1
                            s['answers'] += 1
                    last = b'HTTP/1.1 ' + parts[-1] if len(parts) > 1 and len(parts[-1]) < 3 else parts[-1]
                    s['tail'] = last[-11:] if len(last) < 12 or b'HTTP' in last[-9:] else last[-8:]
                    over = not data or s['answers'] >= each
            except BlockingIOError:
                continue
            except OSError:
                over = True
            if over:
                sel.unregister(c)
                c.close()
                live -= 1
                if left:
                    begin()
                    left -= 1
                    live += 1
    return sent, received, codes


def measure(port, count_file, cpu, held):
    """All cases against one proxy. `cpu()` in ns, `held()` in KiB."""
    def counts():
        with open(count_file, 'rb') as f:
            return struct.unpack('<4Q', f.read(32))
    out = {}
    for name, (_, request, each, connections) in CASES.items():
        time.sleep(0.1)
        before, c0 = counts(), cpu()
        sent, received, codes = attack(port, request, each, connections)
        time.sleep(0.2)
        after, c1 = counts(), cpu()
        out[name] = {'requests': each * connections, 'sent': sent, 'received': received, 'codes': codes, 'us': (c1 - c0) / 1000,
                     'origin_requests': after[1] - before[1], 'origin_in': after[2] - before[2], 'origin_out': after[3] - before[3]}
    # Slow readers: what is drawn from the origin and held for clients that ask for 1 MiB each and read nothing.
    before, base = counts(), held()
    request = GET.replace(b'/ ', b'/1048576 ', 1)
    idle = []
    for _ in range(50):
        c = socket.socket()
        c.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        c.connect(('127.0.0.1', port))
        c.sendall(request)
        idle.append(c)
    time.sleep(2)
    out['slow'] = {'requests': 50, 'sent': 50 * len(request), 'held_kib': (held() - base) / 50, 'origin_out': counts()[3] - before[3], 'origin_requests': counts()[1] - before[1]}
    for c in idle:
        c.close()
    return out


def table(samples):
    print('\n### Amplification: what comes out for each byte an attacker sends\n')
    print('| case | proxy | bytes back per byte | bytes to the origin per byte | origin requests per request | CPU us per request | CPU us per KiB sent | answers |\n|---|---|---|---|---|---|---|---|')
    for case, (title, *_) in CASES.items():
        for name, got in samples[-1].items():
            g = got[case]
            n, sent = g['requests'], max(1, g['sent'])
            codes = ', '.join(f'{v} x {k}' for k, v in sorted(g['codes'].items()))
            print(f'| {title} | {name} | {g["received"] / sent:.2f} | {g["origin_in"] / sent:.2f} | {g["origin_requests"] / n:.2f} | {g["us"] / n:.1f} | {g["us"] / sent * 1024:.0f} | {codes or "-"} |')
    print('\n| 50 clients that ask for 1 MiB and read nothing | memory held a client, KiB | drawn from the origin a client, KiB |\n|---|---|---|')
    for name, got in samples[-1].items():
        g = got['slow']
        print(f'| {name} | {g["held_kib"]:.0f} | {g["origin_out"] / 50 / 1024:.0f} |')


if __name__ == '__main__':
    origin(int(sys.argv[1]), sys.argv[2])
