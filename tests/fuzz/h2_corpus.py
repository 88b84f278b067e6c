"""Seeds of the HTTP/2 targets: bytes of peers as records (h2_properties.h: Input) and as they are, and heads as fields or as HTTP/1 text."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "proxy"))
import h1_cases  # noqa: E402

ASSEMBLED, HELLO, EXTENDED, SMALL, REFUSES = 1, 2, 4, 8, 16
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION, UPDATE, UNKNOWN = range(12)
REPEAT, FIELDS = 128, 64
END, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32


def number(value, size=4):
    return value.to_bytes(size, "big")


def record(kind, flags, stream, payload=b""):
    return bytes([kind, flags, stream, len(payload)]) + payload


def head(stream, fields, end, done=True):
    text = b"".join(name + b"\xfe" + value + b"\xfe" for name, value in fields)
    return record(HEADERS | FIELDS, (END if end else 0) | (END_HEADERS if done else 0), stream, text)


def data(stream, text, end=False):
    return record(DATA, END if end else 0, stream, text)


GET = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"a.example"), (b":path", b"/x?y")]
POST = [(b":method", b"POST")] + GET[1:]
CONNECT = [(b":method", b"CONNECT"), (b":protocol", b"websocket")] + GET[1:]
OK = [(b":status", b"200")]


def server_parts():
    """What clients send, each a list of records."""
    yield [head(1, GET, True)]
    yield [head(1, POST, False), data(1, b"abc"), data(1, b"def", True)]
    yield [head(1, POST + [(b"content-length", b"6")], False), data(1, b"abc"), data(1, b"def", True)]
    yield [head(1, POST + [(b"content-length", b"5")], False), data(1, b"abcdef", True)]
    yield [head(1, POST + [(b"expect", b"100-continue")], False), data(1, b"x", True)]
    yield [head(1, POST, False), data(1, b"abc"), head(1, [(b"x", b"y")], True)]
    yield [head(1, POST, False), head(1, [(b"x", b"y")], False)]
    yield [head(1, POST, False), head(1, [(b":status", b"200")], True)]
    yield [head(1, CONNECT, False), data(1, b"up"), data(1, b"up", True)]
    yield [head(1, CONNECT, False), head(1, [(b"x", b"y")], True)]
    yield [head(1, GET + [(b"cookie", b"a=b"), (b"cookie", b"c=d"), (b"priority", b"u=1, i")], True)]
    yield [head(1, GET + [(b"host", b"a b")], False), data(1, b"x", True)]
    yield [head(1, GET + [(b"connection", b"close")], True), head(3, GET, True)]
    yield [head(1, GET + [(b"Upper", b"x")], True), head(3, GET, True)]
    yield [head(1, GET[:2], True)]
    yield [head(id, GET, True) for id in range(1, 20, 2)]
    yield [head(id, POST, False) for id in range(1, 14, 2)] + [data(id, b"x", True) for id in range(13, 0, -2)]
    yield [head(1, POST, False), record(DATA | REPEAT, 0, 1, b"x" * 200), record(DATA | REPEAT, END, 1, b"x" * 200)]
    yield [head(1, POST, False)] + [record(DATA | REPEAT, 0, 1, b"x" * 250)] * 12
    yield [head(id, POST, False) for id in (1, 3, 5)] + [record(DATA | REPEAT, 0, 1 + 2 * (n % 3), b"y" * 250) for n in range(18)]
    yield [head(1, GET, True)] + [record(WINDOW, 0, stream, number(60000)) for stream in (0, 1)] * 4
    yield [record(SETTINGS, 0, 0, number(4, 2) + number(10)), head(1, GET, True), record(WINDOW, 0, 1, number(5)), record(SETTINGS, 0, 0, number(4, 2) + number(100000))]
    yield [record(SETTINGS, 0, 0, number(1, 2) + number(0) + number(5, 2) + number(20000)), head(1, GET, True)]
    yield [head(1, POST, False), record(RST, 0, 1, number(8)), head(3, GET, True)]
    yield [head(1, POST, False), record(RST, 0, 1, number(8)), data(1, b"x")]
    yield [head(1, GET, True), data(1, b"x")]
    yield [head(3, GET, True), head(1, GET, True)]
    yield [data(1, b"x")]
    yield [head(2, GET, True)]
    yield [head(1, GET, True, False), record(CONTINUATION | FIELDS, END_HEADERS, 1, b"x\xfey\xfe")]
    yield [head(1, GET, True, False), record(CONTINUATION, 0, 1), record(CONTINUATION, END_HEADERS, 1)]
    yield [head(1, GET, True, False), record(PING, 0, 0, b"12345678")]
    yield [record(HEADERS | FIELDS, END_HEADERS | END, 1, b"x\xfey\xfe" * 50)]
    yield [record(HEADERS | FIELDS | REPEAT, END_HEADERS | END, 1, b"x\xfe" + b"y" * 100 + b"\xfe")]
    yield [record(HEADERS, END_HEADERS | END, 1, b"\x82\x86\x84\x41\x0f" + b"www.example.com")]
    yield [record(HEADERS, END_HEADERS | END | PADDED, 1, b"\x02\x82\x86\x84\x41\x01a\x00\x00")]
    yield [record(HEADERS, END_HEADERS | END | PRIORITIZED, 1, number(0) + b"\x10\x82\x86\x84\x41\x01a")]
    yield [record(HEADERS, END_HEADERS | END, 1, b"\x82\x86\x84\x40\x01x\x64" + b"v" * 100 + b"\xbe" * 100)]
    yield [record(HEADERS | REPEAT, END_HEADERS | END, 1, b"\xbe" * 250)]
    yield [record(HEADERS, END_HEADERS | END, 1, b"\x3f\xe1\x1f\x82")]
    yield [record(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff")]
    yield [head(1, POST, False), record(DATA, PADDED, 1, b"\x03abc\0\0\0"), record(DATA, PADDED | END, 1, b"\x00x")]
    yield [head(1, POST, False), record(DATA, PADDED, 1, b"\x09abc")]
    yield [record(PRIORITY, 0, 1, number(3) + b"w"), record(PRIORITY, 0, 3, number(3) + b"w")]
    yield [record(PRIORITY, 0, 1, b"123")]
    yield [record(UPDATE, 0, 0, number(1) + b"u=1"), head(1, GET, True)]
    yield [record(UNKNOWN, 7, 9, b"x" * 20), head(1, GET, True)]
    yield [record(PING, 0, 0, b"12345678"), record(PING, ACK, 0, b"12345678")]
    yield [record(PING, 0, 0, b"1"), head(1, GET, True)]
    yield [record(GOAWAY, 0, 0, number(0) + number(0) + b"bye"), head(1, GET, True)]
    yield [record(WINDOW, 0, 0, number(0))]
    yield [record(WINDOW, 0, 0, number(0x7FFFFFFF))]
    yield [head(1, POST, False), record(WINDOW, 0, 1, number(0x7FFFFFFF))]
    yield [record(SETTINGS, 0, 0, number(4, 2) + number(0x80000000))]
    yield [record(SETTINGS, ACK, 0, b"x")]
    yield [record(PUSH, END_HEADERS, 1, number(2))]
    yield [record(SETTINGS, 0, 0)] * 30 + [record(PING, 0, 0, b"12345678")] * 30
    yield [record(RST, 0, 1, number(8))]
    yield [part for id in range(1, 60, 2) for part in (head(id, POST, False), record(RST, 0, id, number(8)))]
    yield [head(1, POST, False)] + [data(1, b"")] * 40
    yield [head(1, POST, False), data(1, b"x"), record(GOAWAY, 0, 0, number(0) + number(2)), data(1, b"y", True)]


def client_parts():
    """What servers send."""
    length = OK + [(b"content-length", b"5")]
    yield [head(1, OK, True)]
    yield [head(id, OK, True) for id in range(1, 12, 2)]
    yield [head(id, length, False) for id in range(11, 0, -2)] + [data(id, b"12345", True) for id in range(1, 12, 2)]
    yield [head(1, length, False), data(1, b"1234", True)]
    yield [head(1, length, False), data(1, b"123456", True)]
    yield [head(3, length, True), head(1, length, True)]
    yield [head(1, OK, False), data(1, b"abc"), head(1, [(b"grpc-status", b"0")], True)]
    yield [head(id, OK, False) for id in (1, 3, 5)] + [head(id, [(b"x", b"y")], True) for id in (1, 3, 5)]
    yield [head(1, OK, False), head(1, OK, True)]
    yield [head(1, OK, False), head(1, [(b"set-cookie", b"y")], True)]
    yield [head(1, [(b":status", b"103"), (b"link", b"x")], False), head(1, OK, True)]
    yield [head(1, [(b":status", b"103")], False)] * 18
    yield [head(1, [(b":status", b"101")], False)]
    yield [head(1, [(b":status", b"100")], True)]
    yield [head(id, [(b":status", status)], True) for id, status in zip(range(1, 12, 2), (b"204", b"304", b"599", b"600", b"20", b"2x0"))]
    yield [head(id, [(b":status", b"304")], False) for id in (1, 3)] + [data(1, b"", True), data(3, b"x", True)]
    yield [head(1, OK + [(b"connection", b"close")], True), head(3, OK + [(b"Upper", b"x")], True), head(5, [], True)]
    yield [data(1, b"x", True)]
    yield [head(2, OK, True)]
    yield [head(33, OK, True)]
    yield [record(RST, 0, id, number(code)) for id, code in zip(range(1, 12, 2), (0, 7, 8, 2, 1, 11))]
    yield [head(1, OK, False), record(RST, 0, 1, number(0))]
    yield [head(1, OK, True), record(RST, 0, 1, number(0)), data(1, b"late")]
    yield [record(GOAWAY, 0, 0, number(3) + number(0)), head(1, OK, True), head(3, OK, True)]
    yield [record(GOAWAY, 0, 0, number(0x7FFFFFFF) + number(0)), record(GOAWAY, 0, 0, number(5) + number(0)), head(1, OK, True)]
    yield [record(GOAWAY, 0, 0, number(0) + number(11) + b"calm")]
    yield [record(SETTINGS, 0, 0, number(3, 2) + number(1))]
    yield [record(SETTINGS, 0, 0, number(3, 2) + number(0)), record(SETTINGS, 0, 0, number(3, 2) + number(100))]
    yield [record(SETTINGS, 0, 0, number(4, 2) + number(0)), record(WINDOW, 0, 1, number(10)), record(SETTINGS, 0, 0, number(4, 2) + number(1 << 20)), record(WINDOW, 0, 0, number(1 << 20))]
    yield [record(SETTINGS, 0, 0, number(2, 2) + number(1))]
    yield [record(SETTINGS, 0, 0, number(1, 2) + number(0)), head(1, OK, True)]
    yield [record(PUSH, END_HEADERS, 1, number(2))]
    yield [record(WINDOW, 0, stream, number(40000)) for stream in (0, 9, 11, 0, 9, 11, 0, 7)]
    yield [head(1, OK, False)] + [record(DATA | REPEAT, 0, 1, b"x" * 250)] * 8 + [data(1, b"", True)]
    yield [head(id, OK, False) for id in (1, 3, 5)] + [record(DATA | REPEAT, 0, 1 + 2 * (n % 3), b"y" * 250) for n in range(15)]
    yield [head(1, OK, False, False), record(CONTINUATION | FIELDS, END_HEADERS, 1, b"x\xfey\xfe"), data(1, b"z", True)]
    yield [head(1, OK, False, False), record(PING, 0, 0, b"12345678")]
    yield [record(HEADERS, END_HEADERS | END, 1, b"\x88\x5c\x010")]
    yield [record(HEADERS | REPEAT, END_HEADERS | END, 1, b"\x88")]
    yield [record(HEADERS, END_HEADERS | END, 1, b"\x88\x40\x01x\x64" + b"v" * 100 + b"\xbe" * 140)]
    yield [record(HEADERS | FIELDS, END_HEADERS | END, 1, b":status\xfe200\xfe" + b"x\xfey\xfe" * 50)]
    yield [record(PING, ACK, 0, b"12345678"), record(PING, 0, 0, b"12345678"), record(UNKNOWN, 0, 0, b"x"), record(PRIORITY, 0, 1, number(0) + b"w")]
    yield [record(SETTINGS, 0, 0)] * 30
    yield [head(1, OK, False), record(DATA, PADDED, 1, b"\x02ab\0\0"), record(DATA, PADDED | END, 1, b"\x01a")]
    yield [head(1, OK, False)] + [data(1, b"")] * 30


# Flags, pieces, script: enough that each action of the scripts and each way of cutting is met with many inputs.
WAYS = [(0, 0, 0x00, 0x00), (SMALL, 1, 0x43, 0x75), (EXTENDED, 8, 0x5A, 0xB2), (REFUSES, 30, 0x8D, 0xC9), (EXTENDED | SMALL, 100, 0xF6, 0x3E), (0, 255, 0x71, 0xEC), (SMALL, 0, 0xA4, 0xA4)]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def sessions(parts, raw):
    """Each list of records in three ways; and raw bytes."""
    seeds = set()
    for index, records in enumerate(parts):
        for turn in range(3):
            flags, pieces, one, two = WAYS[(index + turn * 2) % len(WAYS)]
            seeds.add(bytes([flags | ASSEMBLED, pieces, (one + index) % 256, (two + index * 7) % 256]) + b"".join(records))
    for index, text in enumerate(raw):
        flags, pieces, one, two = WAYS[index % len(WAYS)]
        seeds.add(bytes([flags, pieces, one, two]) + text)
    return seeds


def frame(kind, flags, stream, payload=b""):
    return number(len(payload), 3) + bytes([kind, flags]) + number(stream) + payload


def raw_frames(answer):
    block = b"\x88" if answer else b"\x82\x86\x84\x41\x01a"
    settings, whole = frame(4, 0, 0), frame(1, 5, 1, block)
    start = b"" if answer else PREFACE
    yield from (start, start + settings, start + settings + whole, start + whole, start[:-1] + b"x", start + settings[:5])
    yield from (start + settings + frame(0, 1, 1, b"x"), start + settings + whole + b"\xff" * 20, start + settings + frame(1, 5, 1, block)[:-1])
    yield start + settings + b"\x00\x40\x01\x00\x00\x00\x00\x00\x01"
    yield start + settings + whole + whole[:3]
    yield from (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x01\x00\x10")


ANSWER, TEXT, LAST, OTHER = 1, 2, 4, 8


def fields(flags, pairs):
    return bytes([flags]) + b"".join(bytes([len(name), len(value)]) + name + value for name, value in pairs)


def heads():
    extras = [[], [(b"content-length", b"5")], [(b"content-length", b"0")], [(b"content-length", b"5, 5")], [(b"te", b"trailers")], [(b"te", b"gzip")], [(b"host", b"a.example")], [(b"host", b"b")],
              [(b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d")], [(b"cookie", b""), (b"cookie", b"c")], [(b"x", b"a\r\nb: c")], [(b"x", b"a\0b")], [(b"x", b" a")], [(b"x", b"caf\xe9")],
              [(b"transfer-encoding", b"chunked")], [(b"connection", b"x"), (b"x", b"y")], [(b"upgrade", b"h2c")], [(b"expect", b"100-continue")], [(b"trailer", b"x")], [(b"proxy-authorization", b"x")],
              [(b"http2-settings", b"AAMAAABk")], [(b"proxy-authenticate", b"x")], [(b"", b"x")], [(b"a b", b"x")], [(b"a:b", b"x")], [(b"x", b"")], [(b"x", b"a\tb")], [(b"date", b"now"), (b"server", b"s")],
              [(b"x" * 200, b"y" * 200)], [(b"x", b"y")] * 41, [(b":path", b"/")], [(b"keep-alive", b"1")], [(b"priority", b"u=1, i")], [(b"x-forwarded-for", b"1.2.3.4"), (b"forwarded", b"for=x")]]
    paths = [b"/", b"/a/../b", b"/..", b"/%2e", b"/%2F", b"/a b", b"/a[b]?c{d}", b"/?", b"/x?y#z", b"*", b"", b"x", b"//a", b"http://a/", b"/a\r\nb"]
    hosts = [b"A.Example:8080", b"[::1]:1", b"", b"a@b", b"a:0", b"1.2.3", b"1.2.3.4", b"a.", b"a\r\nb", b"[::ffff:1.2.3.4]"]
    for index, extra in enumerate(extras):
        for first in (GET, POST):
            yield fields(LAST if index % 2 and first is GET else 0, first + extra)
        yield fields(OTHER, CONNECT + extra)
        for flags in (ANSWER, ANSWER | LAST | OTHER):
            yield fields(flags, OK + extra)
    for path in paths:
        yield fields(0, GET[:3] + [(b":path", path)])
        yield fields(LAST, [(b":method", b"OPTIONS")] + GET[1:3] + [(b":path", path)])
    for host in hosts:
        yield fields(0, GET[:2] + [(b":authority", host)] + GET[3:])
        yield fields(0, GET[:2] + GET[3:] + [(b"host", host)])
    for method in (b"HEAD", b"PROPFIND", b"get", b"", b"A B", b"GET / HTTP/1.1\r\nX:", b"CONNECT"):
        yield fields(LAST, [(b":method", method)] + GET[1:])
    for protocol in (b"a/1", b"", b"a b", b"a,b"):
        yield fields(OTHER, [(b":method", b"CONNECT"), (b":protocol", protocol)] + GET[1:])
    for status in (b"100", b"101", b"103", b"204", b"205", b"304", b"404", b"599", b"600", b"099", b"2000", b"2 0", b""):
        for flags in (ANSWER, ANSWER | LAST):
            yield fields(flags, [(b":status", status), (b"x", b"y")])
    # Every fifth of HTTP/1's cases that have a head.
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "proxy", "h1_cases.txt")
    for index, case in enumerate(h1_cases.read(root)):
        if index % 5 != 0:
            continue
        text = b"".join(case.sends) if case.is_request else b"".join(case.answers)
        if text and len(text) < 1000:
            yield bytes([TEXT | (0 if case.is_request else ANSWER) | (OTHER if case.method == "HEAD" else 0)]) + text


def all_seeds():
    yield "h2_server", sessions(server_parts(), raw_frames(False))
    yield "h2_client", sessions(client_parts(), raw_frames(True))
    yield "h2_differential", set(heads())
