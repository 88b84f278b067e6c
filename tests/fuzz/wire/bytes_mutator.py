"""Changes of bytes that mean something to a parser of HTTP/1.1. All from one random.Random: the same seed makes the same input."""
import re

WORDS = [
    b'\r', b'\n', b'\r\n', b'\r\n\r\n', b'\n\n', b'\x00', b' ', b'\t', b'\x0b', b'\x7f', b'\x80', b'\xff', b':', b' : ', b',', b';', b'"', b'\\', b'%', b'%00',
    b'%2e%2e/', b'%2F', b'../', b'#', b'?', b'@', b'*', b'_', b'0', b'00', b'+', b'-', b'0x', b'1e1', b'ffffffffffffffff', b'18446744073709551616',
    b'9223372036854775807', b'5', b'0\r\n\r\n', b'3\r\nabc\r\n', b'5;a=b\r\n', b'1;a="\r\n"\r\n', b'Transfer-Encoding: chunked\r\n',
    b'Transfer-Encoding: gzip, chunked\r\n', b'Transfer-Encoding:\x0bchunked\r\n', b'Transfer-Encoding : chunked\r\n', b'Content-Length: 5\r\n',
    b'Content-Length: 0\r\n', b'Content-Length: +5\r\n', b'Content-Length: 5, 5\r\n', b'Content-Length:\r\n 5\r\n', b'Host: b.example\r\n',
    b'Host: a@b.example\r\n', b'Host:\r\n', b'Connection: close\r\n', b'Connection: x, content-length\r\n', b'Connection: keep-alive, transfer-encoding\r\n',
    b'Expect: 100-continue\r\n', b'Upgrade: websocket\r\nConnection: upgrade\r\n',
    b'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n', b'TE: trailers\r\n', b'Trailer: x\r\n',
    b'X-Forwarded-For: 1.2.3.4\r\n', b'X_Forwarded_For: 1.2.3.4\r\n', b' folded\r\n', b'X: y\r\n', b'GET / HTTP/1.1\r\n', b'GET http://b.example/ HTTP/1.1\r\n',
    b'HTTP/1.0', b'HTTP/1.1', b'HTTP/1.2', b'HTTP/2.0', b'HTTP/1.1 200 OK\r\n\r\n', b'HTTP/1.1 100 Continue\r\n\r\n', b'HTTP/1.1 204 x\r\n\r\n', b'HEAD',
    b'CONNECT', b'OPTIONS *', b'Date: x\r\n', b'Keep-Alive: x\r\n', b'Proxy-Connection: close\r\n'
]


def change(rng, data):
    """One change."""
    how, at = rng.randrange(14), rng.randrange(len(data) + 1)
    if how <= 1 and data:
        at = min(at, len(data) - 1)
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]
    if how == 2 and data:
        at = min(at, len(data) - 1)
        return data[:at] + bytes([rng.randrange(256)]) + data[at + 1:]
    if how <= 4:
        return data[:at] + rng.choice(WORDS) + data[at:]
    if how == 5:
        return data[:at] + data[at + rng.choice((1, 1, 1, 2, 4, 20)):]
    if how == 6:
        piece = data[at:at + rng.randrange(1, 40)]
        return data[:at] + piece + data[at:]
    if how == 7:
        return data[:at]
    # By lines.
    lines = data.split(b'\r\n')
    i = rng.randrange(len(lines))
    if how == 8:
        lines.insert(i, rng.choice(WORDS).removesuffix(b'\r\n'))
    elif how == 9:
        del lines[i]
    elif how == 10:
        lines.insert(i, lines[rng.randrange(len(lines))])
    elif how == 11:
        j = rng.randrange(len(lines))
        lines[i], lines[j] = lines[j], lines[i]
    elif how == 12:
        return b'\r\n'.join(lines[:i]) + rng.choice((b'\n', b'\r', b'\r\n ', b'\r\r\n', b'\r\n\t', b'')) + b'\r\n'.join(lines[i:])
    else:
        numbers = list(re.finditer(rb'[0-9]+', data))
        if numbers:
            m = rng.choice(numbers)
            value = rng.choice((b'%d' % (int(m[0][:15]) + rng.choice((-1, 1, 7))), b'0' + m[0], m[0] + b'0', b'-' + m[0], b'', b' ' + m[0], m[0] + b' '))
            return data[:m.start()] + value + data[m.end():]
    return b'\r\n'.join(lines)


def changes(rng, data):
    """Mostly one or two; sometimes none: what is good must pass."""
    for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 6))):
        data = change(rng, data)
    return data


def split(rng, data, most=None):
    """Into writes. most: no cut behind it."""
    most = len(data) if most is None else min(most, len(data))
    how = rng.randrange(10)
    if how < 5 or most < 2:
        return [data] if data else []
    cuts = sorted({rng.randrange(1, most) for _ in range(rng.choice((1, 1, 2, 3, 6)))})
    return [data[a:b] for a, b in zip([0] + cuts, cuts + [len(data)])]
