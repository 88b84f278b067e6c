"""The inputs: make(kind, seed, index) is the same each time, so that one can be repeated alone. Kinds: h1, h2 (what a client sends), upstream (what an origin
answers). They start from the cases of tests/proxy, the corpora of the fuzz targets and messages made here."""
import dataclasses
import functools
import glob
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.abspath(os.path.join(HERE, '..', '..'))
for path in (TESTS, os.path.join(TESTS, 'fuzz'), os.path.join(TESTS, 'proxy')):
    if path not in sys.path:
        sys.path.insert(0, path)
import h1_cases  # noqa: E402
import h2_cases  # noqa: E402
import h2_corpus  # noqa: E402
from lib import hpack, raw_h2  # noqa: E402
from lib.raw_h2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE, PRIORITY, PRIORITY_UPDATE, PUSH_PROMISE, RST_STREAM, SETTINGS,  # noqa: E402
                        WINDOW_UPDATE)
from wire.bytes_mutator import WORDS, change, changes, split  # noqa: E402
from wire.h1 import Reader  # noqa: E402
from wire.h2 import Reader as Reader2  # noqa: E402

KINDS = ('h1', 'h2', 'upstream')
KINDS_OF_FRAMES = (DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION, PRIORITY_UPDATE, 0xbb)


@dataclasses.dataclass
class Input:
    kind: str
    seed: int
    index: int
    connections: list = dataclasses.field(default_factory=list)  # clients: (pieces, how): shut, wait, drop; see wire/clients.py
    client: str = ''     # upstream: h1 or h2 asks
    method: bytes = b''
    origin: str = ''     # h1 or h2 answers: pieces, and then close, reset or keep
    pieces: list = dataclasses.field(default_factory=list)
    how: str = ''

    @property
    def name(self):
        return f'--kind {self.kind} --seed {self.seed} --index {self.index}'

    @property
    def token(self):
        return b'%s%d.%d' % (self.kind[:1].encode() + self.kind[-1:].encode(), self.seed, self.index)


def make(kind, seed, index):
    rng = random.Random(f'{kind}/{seed}/{index}')
    out = Input(kind, seed, index)
    {'h1': make_h1, 'h2': make_h2, 'upstream': make_upstream}[kind](rng, out)
    return out


# ---- the bases

def corpus(name, most=1500):
    for path in sorted(glob.glob(os.path.join(TESTS, 'fuzz', 'corpus', name, '*'))):
        with open(path, 'rb') as file:
            data = file.read()
        if len(data) <= most:
            yield data


@functools.lru_cache(None)
def cases(version):
    return h1_cases.read(os.path.join(TESTS, 'proxy', 'h1_cases.txt')) if version == 1 else h2_cases.read(os.path.join(TESTS, 'proxy', 'h2_cases.txt'))


@functools.lru_cache(None)
def h1_requests():
    return [d for case in cases(1) if case.is_request and len(d := b''.join(case.sends)) < 3000] + list(corpus('h1_request'))


@functools.lru_cache(None)
def h1_answers():
    return [d for case in cases(1) if not case.is_request and len(d := b''.join(case.answers)) < 3000] + [d[1:] for d in corpus('h1_response')]


# ---- HTTP/1.1

def some_fields(rng, hosts=()):
    pool = [b'Accept: */*', b'X-A: b', b'x-b:  c\t', b'Cookie: a=b; c=d', b'User-Agent: ' + b'u' * rng.randrange(60), b'TE: trailers', b'Accept-Encoding: gzip',
            b'X-Bytes: \xe9\xff', b'X-Empty:', b'Cache-Control: no-cache',
            b'Connection: x-a', b'X-Forwarded-For: 9.9.9.9', b'Via: 1.1 x', b'If-None-Match: "x"']
    return [b'Host: ' + h for h in hosts] + rng.sample(pool, rng.choice((0, 1, 2, 3, 5)))


def body_of(rng, size):
    return bytes(rng.choices(b'abcGET /HTP1.:\r\n0', k=size))


def chunked(rng, body):
    out, at = [], 0
    while at < len(body):
        size = rng.randrange(1, min(len(body) - at, 200) + 1)
        out.append(rng.choice((b'%x', b'%X', b'0%x', b'%x;a=b', b'%x;a="b;c"')) % size + b'\r\n' + body[at:at + size] + b'\r\n')
        at += size
    trailers = rng.choice((b'', b'', b'X-T: 1\r\n', b'X-T: 1\r\nX-U: 2\r\n', b'Authorization: x\r\n'))
    return b''.join(out) + b'0\r\n' + trailers + b'\r\n'


def framed(rng, fields):
    """Fields and what follows them."""
    how, body = rng.randrange(3), body_of(rng, rng.choice((0, 1, 5, 100, 700)))
    if how == 0:
        return fields, b''
    fields.insert(rng.randrange(1, len(fields) + 1) if fields else 0, b'Content-Length: %d' % len(body) if how == 1 else b'Transfer-Encoding: chunked')
    return fields, body if how == 1 else chunked(rng, body)


def good_request(rng, host):
    method = rng.choice((b'GET', b'GET', b'GET', b'HEAD', b'POST', b'PUT', b'DELETE', b'OPTIONS', b'PATCH', b'QUERY'))
    target = rng.choice((b'/', b'/x', b'/x?y=z', b'/a/../b', b'/%41/b', b'/a%2Fb', b'//', b'http://' + host + b'/abs'))
    fields, rest = framed(rng, some_fields(rng, [host]))
    return method + b' ' + target + b' HTTP/1.%d' % (rng.random() < 0.95) + b'\r\n' + b''.join(f + b'\r\n' for f in fields) + b'\r\n' + rest


TARGET = re.compile(rb'((?:^|\n|\r)[!#$%&\'*+.^_`|~0-9A-Za-z-]+ (?:https?://[^/ \r\n]*)?)/')


def marked(data, token):
    """Each target gets the input's name and a number: what reaches the origin says where it comes from."""
    count = iter(range(1000))
    return TARGET.sub(lambda m: m[1] + b'/%s.%d/' % (token, next(count)), data)


def make_h1(rng, out):
    host = rng.choice((b'a.example', b'a.example', b'b.example'))
    for number in range(1 if rng.random() < 0.85 else 2):
        if rng.random() < 0.5:
            data = rng.choice(h1_requests())
            if host == b'b.example':
                data = data.replace(b'a.example', host)
            if rng.random() < 0.15:
                data += rng.choice(h1_requests())
        else:
            data = b''.join(good_request(rng, host) for _ in range(rng.choice((1, 1, 1, 2, 3, 4))))
        data = marked(data, out.token + b'.%d' % number)
        data = changes(rng, data)
        if rng.random() < 0.35:
            data += b'GET /%s.probe%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' % (out.token, number, host)
        out.connections.append((split(rng, data), rng.choice(('shut', 'shut', 'wait', 'wait', 'wait', 'late', 'late', 'late', 'late', 'drop'))))


# ---- HTTP/2: frames as [type, flags, stream, payload or fields, a length that may lie]

def good_fields(rng, method, host, path):
    fields = raw_h2.request_fields(path, host, method)
    pool = [(b'accept', b'*/*'), (b'x-a', b'b'), (b'cookie', b'a=b'), (b'cookie', b'c=d'), (b'user-agent', b'u' * rng.randrange(60)), (b'te', b'trailers'),
            (b'priority', b'u=1, i'), (b'x-bytes', b'\xe9\xff'), (b'x-empty', b''),
            (b'x-forwarded-for', b'9.9.9.9'), (b'via', b'2 x'), (b'expect', b'100-continue')]
    return fields + rng.sample(pool, rng.choice((0, 1, 2, 3, 5)))


def message(rng, number, fields, lengthy=True):
    """HEADERS, DATA and trailers of one message."""
    body = body_of(rng, rng.choice((0, 0, 1, 5, 100, 700)))
    if body and lengthy and rng.random() < 0.5:
        fields = fields + [(b'content-length', b'%d' % len(body))]
    trailers = body and rng.random() < 0.2
    frames = [[HEADERS, END_HEADERS | (0 if body else END_STREAM), number, fields, None]]
    while body:
        size = rng.randrange(1, len(body) + 1)
        piece, body = body[:size], body[size:]
        frames.append([DATA, END_STREAM if not body and not trailers else 0, number, piece, None])
    if trailers:
        frames.append([HEADERS, END_HEADERS | END_STREAM, number, [(b'x-t', b'1')], None])
    return frames


def records(parts):
    """h2_corpus.py's: its types are numbers of a list, and fields are marked."""
    for part in parts:
        frames = []
        for r in part:
            payload = r[4:]
            if r[0] & 64:
                words = payload.split(b'\xfe')
                payload = list(zip(words[0::2], words[1::2]))
            frames.append([KINDS_OF_FRAMES[r[0] & 63], r[1], r[2], payload * (r[0] & 128 and 3 or 1), None])
        yield frames


def of_case(words):
    """h2_cases.txt's frames, on stream 1."""
    out = []
    for word, what in words:
        if word in ('head', 'trailers'):
            out.append([HEADERS, END_HEADERS, 1, list(what), None])
        elif word == 'data':
            out.append([DATA, 0, 1, what, None])
        elif word == 'frame':
            out.append([what[0], what[1], 1, what[2], None])
        elif word == 'reset':
            out.append([RST_STREAM, 0, 1, what.to_bytes(4, 'big'), None])
    if out and out[-1][0] in (DATA, HEADERS) and not any(word == 'open' for word, _ in words):
        out[-1][1] |= END_STREAM
    return out


@functools.lru_cache(None)
def h2_bases(answers):
    cases_of = [of_case(c.replies if answers else c.frames) for c in cases(2) if (c.replies if answers else c.frames)]
    parts = list(records(h2_corpus.client_parts() if answers else h2_corpus.server_parts()))
    small = lambda frames: sum(len(f[3]) * (20 if isinstance(f[3], list) else 1) for f in frames) < 4000
    return [b for b in cases_of if small(b)], [b for b in parts if small(b)]


def copied(frames):
    return [[k, f, s, list(p) if isinstance(p, list) else p, n] for k, f, s, p, n in frames]


def change_fields(rng, fields):
    i = rng.randrange(len(fields)) if fields else 0
    how = rng.randrange(9)
    if how == 0 and fields:
        del fields[i]
    elif how == 1 and fields:
        fields.insert(rng.randrange(len(fields) + 1), fields[i])
    elif how == 2 and fields:
        j = rng.randrange(len(fields))
        fields[i], fields[j] = fields[j], fields[i]
    elif how <= 4 and fields:
        fields[i] = (fields[i][0], change(rng, fields[i][1]))
    elif how == 5 and fields:
        fields[i] = (change(rng, fields[i][0]), fields[i][1])
    elif how == 6 and fields:
        fields[i] = (fields[i][0].title(), fields[i][1])
    else:
        word = rng.choice(WORDS).removesuffix(b'\r\n')
        name, _, value = word.partition(b':')
        extra = [(b':status', b'200'), (b':path', b'/other'), (b':authority', b'b.example'), (b':scheme', b'ftp'), (b':protocol', b'websocket'), (b':method', b'CONNECT'),
            (b':x', b'y'), (b'content-length', b'3'), (b'content-length', b'0'),
                 (b'host', b'b.example'), (b'connection', b'close'), (b'transfer-encoding', b'chunked'), (b'te', b'gzip'), (b'upgrade', b'h2c'), (b'keep-alive', b'1'),
            (b'', b'x'), (b'x-y', b'a\r\nb: c'), (name.lower(), value.strip()),
                 (name, value), (b'set-cookie', b'a=b'), (b'trailer', b'x')]
        fields.insert(rng.randrange(len(fields) + 1), rng.choice(extra))


def new_frame(rng, number):
    u32 = lambda: rng.choice((0, 1, 2, 3, number, 100, 65535, 0x7fffffff, 0x80000000, 0xffffffff, rng.randrange(1 << 32))).to_bytes(4, 'big')
    kind = rng.choice(KINDS_OF_FRAMES)
    payload = {PING: lambda: b'12345678', RST_STREAM: u32, WINDOW_UPDATE: u32, GOAWAY: lambda: u32() + u32() + b'x', PRIORITY: lambda: u32() + b'w',
               PRIORITY_UPDATE: lambda: u32() + b'u=1',
               PUSH_PROMISE: lambda: u32() + b'\x82', SETTINGS: lambda: b''.join(rng.choice((1, 2, 3, 4, 5, 6, 8, 9, 0xabc)).to_bytes(2, 'big') + u32()
                                                                     for _ in range(rng.randrange(3))),
               HEADERS: lambda: [(b'x-t', b'1')], CONTINUATION: lambda: [(b'x-c', b'1')]}.get(kind, lambda: body_of(rng, rng.randrange(20)))()
    flags = rng.choice((0, 0, 1, 4, 5, 8, 32, 255))
    return [kind, flags, rng.choice((0, number, number, number + 2, 1, 2)) if kind not in (PING, SETTINGS, GOAWAY, PRIORITY_UPDATE) or rng.random() < 0.1 else 0, payload, None]


def change_frames(rng, frames):
    i = rng.randrange(len(frames)) if frames else 0
    how = rng.randrange(13)
    if not frames or how == 0:
        frames.insert(rng.randrange(len(frames) + 1), new_frame(rng, frames[i][2] if frames else 1))
    elif how == 1:
        del frames[i]
    elif how == 2:
        frames.insert(rng.randrange(len(frames) + 1), copied([frames[i]])[0])
    elif how == 3:
        j = rng.randrange(len(frames))
        frames[i], frames[j] = frames[j], frames[i]
    elif how == 4:
        frames[i][0] = rng.choice(KINDS_OF_FRAMES)
    elif how == 5:
        frames[i][1] ^= rng.choice((1, 1, 4, 4, 8, 32, 2, 255))
    elif how == 6:
        frames[i][2] = rng.choice((0, 1, 2, 3, frames[i][2] + 2, max(0, frames[i][2] - 2), frames[i][2] ^ 1, 0x7fffffff, frames[i][2] | 0x80000000))
    elif how == 7:
        frames[i][4] = rng.choice((-1, 1, -2, 3, 100, 17000, 0xffffff))
    elif isinstance(frames[i][3], list):
        if how < 12:
            change_fields(rng, frames[i][3])
        else:
            frames[i][3] = change(rng, encoded(rng, frames[i][3]))
    elif how < 11:
        frames[i][3] = change(rng, frames[i][3])
    else:  # a header block, more likely than i
        heads = [f for f in frames if isinstance(f[3], list)]
        if heads:
            change_fields(rng, rng.choice(heads)[3])


def encoded(rng, fields):
    """By any of HPACK's ways."""
    out, added = [], 0
    for field in fields:
        name, value = field
        how = rng.randrange(6)
        if field in hpack.STATIC and how < 3:
            out.append(hpack.indexed(hpack.STATIC.index(field) + 1))
            continue
        names = [i for i, (n, _) in enumerate(hpack.STATIC) if n == name]
        said = names[0] + 1 if names and how % 2 else name
        out.append(hpack.literal(said, value, index=how == 4, never=how == 5, coded=rng.random() < 0.3))
        added += how == 4
    if added and rng.random() < 0.1:
        out.append(hpack.indexed(62))
    if rng.random() < 0.03:
        out.insert(0, hpack.table_size(rng.choice((0, 100, 4096, 4097, 1 << 20))))
    return b''.join(out)


def serialised(rng, frames):
    out = []
    for kind, flags, number, payload, lie in frames:
        if isinstance(payload, list):
            payload = encoded(rng, payload)
            if kind == HEADERS and flags & END_HEADERS and not flags & (PADDED | 32) and len(payload) > 3 and rng.random() < 0.1:
                at = rng.randrange(len(payload))
                out.append(raw_h2.frame(HEADERS, flags & ~END_HEADERS, number, payload[:at]))
                kind, flags, payload = CONTINUATION, END_HEADERS, payload[at:]
        elif kind == DATA and not flags & PADDED and rng.random() < 0.05:
            pad = rng.randrange(20)
            flags, payload = flags | PADDED, bytes([pad]) + payload + bytes(pad)
        out.append(raw_h2.frame(kind, flags & 255, number & 0xffffffff, payload, length=None if lie is None else max(0, len(payload) + lie) & 0xffffff))
    return b''.join(out)


def disturbed(rng, frames):
    """Bytes of the frames, changed on one level or the other."""
    raw = rng.random() < 0.25
    for _ in range(0 if raw else rng.choice((0, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5))):
        change_frames(rng, frames)
    data = serialised(rng, frames)
    return changes(rng, data) if raw else data


def mark_paths(frames, token):
    for at, frame in enumerate(frames):
        if isinstance(frame[3], list):
            frame[3] = [(n, b'/%s.%d' % (token, at) + v) if n == b':path' and v[:1] == b'/' else (n, v) for n, v in frame[3]]
    return frames


def make_h2(rng, out):
    host = rng.choice((b'a.example', b'a.example', b'b.example'))
    cases_of, parts = h2_bases(False)
    choice = rng.random()
    if choice < 0.25:
        frames = copied(rng.choice(cases_of))
    elif choice < 0.45:
        frames = copied(rng.choice(parts))
    else:
        queues, number = [], 1
        for _ in range(rng.choice((1, 1, 2, 3, 5))):
            queues.append(message(rng, number, good_fields(rng, rng.choice(('GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE')), host, rng.choice((b'/', b'/x?y', b'/a/../b', b'/%41')))))
            number += 2
        frames, begun = [], 0
        while any(queues):  # heads in order, the rest mixed
            i = rng.randrange(min(begun + 1, len(queues)))
            if queues[i]:
                begun = max(begun, i + 1)
                frames.append(queues[i].pop(0))
            elif i == begun:
                begun += 1
    frames = mark_paths(frames, out.token)
    data = disturbed(rng, frames)
    if rng.random() < 0.4:
        data += serialised(rng, [[HEADERS, END_HEADERS | END_STREAM, 9999, raw_h2.request_fields(b'/' + out.token + b'.probe', host), None]])
    start = PREFACE + raw_h2.settings(*rng.choice(((), (), (), ((4, 70000),), ((1, 0),), ((4, 10),), ((5, 30000), (3, 100))))) + raw_h2.frame(SETTINGS, ACK)
    if rng.random() < 0.03:
        data, start = change(rng, start + data), b''
    data = start + data + raw_h2.ping(b'the end.')
    out.connections.append((split(rng, data), rng.choice(('wait', 'wait', 'wait', 'wait', 'wait', 'wait', 'wait', 'wait', 'shut', 'drop'))))


# ---- answers

def good_answer(rng):
    status = rng.choice((b'200 OK', b'200 OK', b'200 ', b'404 Not Found', b'500 x', b'204 No Content', b'304 Not Modified', b'302 Found', b'206 Partial Content'))
    fields, rest = framed(rng, rng.sample([b'Date: Sun, 29 Nov 2026 10:00:00 GMT', b'Server: x', b'Set-Cookie: a=b', b'Set-Cookie: c=d', b'X-A: b', b'X-Bytes: \xe9',
                                           b'Content-Type: text/plain', b'Connection: close',
                                           b'Connection: x-a', b'Keep-Alive: timeout=5', b'Trailer: X-T'], rng.choice((0, 1, 2, 3, 4))))
    interim = rng.choice((b'',) * 8 + (b'HTTP/1.1 100 Continue\r\n\r\n', b'HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n'))
    if not any(f.startswith((b'Content-Length', b'Transfer')) for f in fields):
        rest = rng.choice((b'', b'until the end'))
    if status[:3] in (b'204', b'304'):
        fields, rest = [f for f in fields if not f.startswith((b'Content-Length', b'Transfer'))], b''
    return interim + b'HTTP/1.%d ' % (rng.random() < 0.95) + status + b'\r\n' + b''.join(f + b'\r\n' for f in fields) + b'\r\n' + rest


def make_upstream(rng, out):
    out.client, out.origin = rng.choice(('h1', 'h2')), ('h1', 'h2')[out.index % 2]
    out.method = rng.choice((b'GET', b'GET', b'GET', b'HEAD', b'POST'))
    out.how = rng.choice(('close', 'close', 'close', 'keep', 'keep', 'keep', 'reset'))
    if out.origin == 'h1':
        data = rng.choice(h1_answers()) if rng.random() < 0.5 else good_answer(rng)
        if rng.random() < 0.05:
            data += good_answer(rng)
        data = changes(rng, data)
        # What is behind the answer comes with its end: later, it could meet the next request.
        model = Reader(answers=True, written=False, methods=[out.method]).feed(data)
        out.pieces = split(rng, data, model.messages[0].end if model.messages and model.messages[0].complete else None)
        return
    cases_of, parts = h2_bases(True)
    choice = rng.random()
    if choice < 0.25:
        frames = copied(rng.choice(cases_of))
    elif choice < 0.45:
        frames = copied(rng.choice(parts))
    else:
        status = rng.choice((b'200', b'200', b'404', b'500', b'204', b'304'))
        fields = [(b':status', status)] + rng.sample([(b'date', b'Sun, 29 Nov 2026 10:00:00 GMT'), (b'server', b'x'), (b'set-cookie', b'a=b'), (b'x-a', b'b'),
            (b'content-type', b'text/plain')], rng.randrange(4))
        frames = message(rng, 1, fields)
        if out.method == b'HEAD' or status in (b'204', b'304'):
            frames = [[HEADERS, END_HEADERS | END_STREAM, 1, fields, None]]
        if rng.random() < 0.1:
            frames.insert(0, [HEADERS, END_HEADERS, 1, [(b':status', b'103'), (b'link', b'</x>')], None])
    data = disturbed(rng, frames)
    # The same: what follows could meet the next stream.
    model = Reader2(server=False, written=False, methods={1: out.method})
    model.settled = True
    model.data += data
    out.pieces = split(rng, data, model.until_over(1))
