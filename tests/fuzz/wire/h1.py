"""HTTP/1.1 (RFC 9112) without I/O, twice: what a gateway wrote, where nothing is forgiven, and what a stranger wrote, where the loosest reading that the RFCs allow
(and the rows "Laxer" of docs/http1-strictness.md) says what it can have meant. Shares no code with the parsers it judges."""
import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([^ \t\r\n\x00-\x20\x7f-\xff]+) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t \x21-\x7e\x80-\xff]*))?")
LENGTH = re.compile(rb"[0-9]{1,19}")
WRITTEN_LENGTH = re.compile(rb"0|[1-9][0-9]{0,18}")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb'|"(?:[\t !\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"))?)*)[ \t]*')
WRITTEN_CHUNK = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,14}|0)()")
BARE = re.compile(rb"\r(?!\n)(?!\Z)|(?<!\r)\n")
PIECE = re.compile(rb"%[0-9A-Fa-f]{2}|[A-Za-z0-9\-._~!$&'()*+,;=:@]+|[\[\]^`{|}]")
PLAIN = re.compile(rb"(?:/(?!\.\.?(?:/|;|\Z|\?))[A-Za-z0-9\-._~!$&'()*+,;=:@]*)+(?:\?[A-Za-z0-9\-._~!$&'()*+,;=:@/?]*)?")
QUERY = re.compile(rb"%[0-9A-Fa-f]{2}|[A-Za-z0-9\-._~!$&'()*+,;=:@/?]+|[\[\]^`{|}\\%]")
UNRESERVED = re.compile(rb"[A-Za-z0-9\-._~]")
HOST = re.compile(rb"((?:[A-Za-z0-9\-._]+|\[[0-9A-Fa-f:.]+\]))(?::([0-9]{1,5}))?")
DATE = re.compile(rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-2][0-9]:[0-5][0-9]:[0-6][0-9] GMT")
# RFC 9110 7.6.1 and 11.7: never beyond the next hop.
HOP_BY_HOP = {b'keep-alive', b'proxy-connection', b'http2-settings'}


def escape(piece, decode):
    """One piece of a target in its normal form."""
    if piece[:1] != b'%' or len(piece) != 3:
        return piece if UNRESERVED.match(piece) or piece[:1] in b"!$&'()*+,;=:@/?" else b'%%%02X' % piece[0]
    byte = bytes([int(piece[1:], 16)])
    return byte if decode and UNRESERVED.fullmatch(byte) else piece.upper() if decode else piece


def pieces(pattern, text, decode):
    out, at = [], 0
    while at < len(text):
        match = pattern.match(text, at)
        if not match:
            return None
        out.append(escape(match[0], decode))
        at = match.end()
    return b''.join(out)


def normal_target(target):
    """What a target means, in RFC 3986's normal form (6.2.2): unreserved characters decoded, dot segments gone; the query's escapes stay. None: it means nothing."""
    if PLAIN.fullmatch(target):
        return target
    path, mark, query = target.partition(b'?')
    if path[:1] != b'/':
        return None
    out, segments = [], path[1:].split(b'/')
    for i, raw in enumerate(segments):
        segment, last = pieces(PIECE, raw, True), i == len(segments) - 1
        if segment is None or b'%00' in segment or b'%5C' in segment:
            return None
        if segment == b'..':
            if not out:
                return None
            out.pop()
        elif segment != b'.':
            out.append(segment)
            continue
        if last:
            out.append(b'')
    query = pieces(QUERY, query, False)
    return None if query is None else b'/' + b'/'.join(out) + mark + query


def host_of(value):
    """(name in lower case, port or None); None: no host."""
    match = HOST.fullmatch(value)
    if not match or (match[2] is not None and not 0 < int(match[2]) < 65536):
        return None
    return match[1].lower().removesuffix(b'.') if match[1] != b'.' else None, match[2]


class Message:
    """One message. complete: to its end. fields: [(name, value)], names in lower case; those that frame or concern the connection are among them."""
    __slots__ = ('start', 'target', 'host', 'minor', 'fields', 'body', 'trailers', 'complete', 'framing', 'length', 'closes', 'interim', 'end')

    def __init__(self, start, minor):
        self.start, self.minor, self.target, self.host = start, minor, None, None
        self.fields, self.trailers, self.interim = [], [], []
        self.body, self.complete, self.framing, self.length, self.closes, self.end = bytearray(), False, 'none', 0, False, 0

    def all(self, name):
        return [v for n, v in self.fields if n == name]

    @property
    def method(self):
        return self.start[0]

    @property
    def status(self):
        return self.start[0]


class Wrong(Exception):
    pass


class Reader:
    """feed() and end(); then `messages` (the last one may be incomplete), and in `error` what stopped it. answers: of these requests' methods, in order."""

    def __init__(self, answers=False, written=True, methods=()):
        self.answers, self.written, self.methods = answers, written, list(methods)
        self.data, self.messages, self.error, self.used = bytearray(), [], None, 0
        self.state, self.left, self.finals, self.interim, self.first, self.skipped = self.head, 0, 0, [], b'', False

    # ---- from outside

    def feed(self, data):
        if self.error is None:
            self.data += data
            try:
                while self.state():
                    pass
            except Wrong as wrong:
                self.error = str(wrong)
                self.state = self.stop
        return self

    def end(self):
        """The peer's end. True: not inside of a message."""
        last = self.messages[-1] if self.messages else None
        if self.error is None and last and not last.complete and last.framing == 'close':
            self.finish(last)
        return self.error is None and not self.data and (last is None or last.complete) and not self.interim

    @property
    def current(self):
        """The message that is not complete."""
        return self.messages[-1] if self.messages and not self.messages[-1].complete else None

    # ---- states: each takes what it can and says whether there was something

    @staticmethod
    def stop():
        return False

    def take(self, size):
        out = bytes(self.data[:size])
        del self.data[:size]
        self.used += size
        return out

    def line(self):
        at = self.data.find(b'\n')
        if at < 0:
            if self.written and BARE.search(self.data):
                raise Wrong(f'bare CR in {bytes(self.data[:80])!r}')
            return None
        line = self.take(at + 1)
        if line[-2:] != b'\r\n' or b'\r' in line[:-2]:
            raise Wrong(f'line end: {line[:80]!r}')
        return line[:-2]

    def head(self):
        if not self.written and not self.answers and self.data[:2] == b'\r\n' and not self.skipped:
            self.take(2)  # RFC 9112 2.2: at least one
            self.skipped = True
        self.first = bytes(self.data[:8])
        end = self.data.find(b'\r\n\r\n')
        if end < 0:
            if self.written and BARE.search(self.data):
                raise Wrong(f'bare CR or LF in a head: {bytes(self.data[:200])!r}')
            return False
        lines = self.take(end + 4)[:-4].split(b'\r\n')
        for line in lines:
            if b'\r' in line or b'\n' in line:
                raise Wrong(f'bare CR or LF: {line[:80]!r}')
        message = self.answer_start(lines[0]) if self.answers else self.request_start(lines[0])
        message.fields = self.section(lines[1:])
        (self.answer_head if self.answers else self.request_head)(message)
        return True

    def section(self, lines):
        fields = []
        for line in lines:
            match = FIELD.fullmatch(line)
            if not match:
                raise Wrong(f'field line {line[:80]!r}')
            fields.append((match[1].lower(), match[2]))
        return fields

    def request_start(self, line):
        match = REQUEST_LINE.fullmatch(line)
        if not match or (self.written and match[3] != b'1'):
            raise Wrong(f'request line {line[:200]!r}')
        return Message((match[1], match[2]), int(match[3]))

    def answer_start(self, line):
        match = STATUS_LINE.fullmatch(line)
        if not match or (self.written and (match[1] != b'1' or match[3] is None)):
            raise Wrong(f'status line {line[:200]!r}')
        return Message((int(match[2]),), int(match[1]))

    def frame(self, message):
        """Content-Length and Transfer-Encoding: one of them, and well-formed."""
        lengths, codings = message.all(b'content-length'), message.all(b'transfer-encoding')
        if len(lengths) + len(codings) > 1:
            raise Wrong(f'lengths {lengths}, codings {codings}')
        if codings:
            if codings[0].lower() != b'chunked' or (message.minor == 0 and not self.answers):
                raise Wrong(f'coding {codings[0][:80]!r}')
            message.framing = 'chunked'
        elif lengths:
            if not (WRITTEN_LENGTH if self.written else LENGTH).fullmatch(lengths[0]) or int(lengths[0]) >= 1 << 63:
                raise Wrong(f'length {lengths[0][:80]!r}')
            message.framing, message.length = 'length', int(lengths[0])

    def connection(self, message):
        options = [o.strip(b' \t').lower() for v in message.all(b'connection') for o in v.split(b',')]
        message.closes = b'close' in options or (message.minor == 0 and b'keep-alive' not in options)
        if self.written:
            allowed = {b'close', b'keep-alive'} if self.answers else {b'te', b'upgrade'}
            if set(options) - allowed or any((o in options) != any(n == o for n, _ in message.fields) for o in (b'te', b'upgrade')):
                raise Wrong(f'Connection {options}, fields {message.fields}')
            for name, value in message.fields:
                # WebSocket is the one protocol that routes offer unless they say otherwise.
                if name in HOP_BY_HOP or (name == b'upgrade' and value.lower() != b'websocket') or (name == b'te' and (self.answers or value != b'trailers')):
                    raise Wrong(f'{name!r}: {value[:80]!r} goes beyond its hop')

    def request_head(self, message):
        target, hosts = message.start[1], message.all(b'host')
        if len(hosts) > 1 or (not hosts and (self.written or message.minor == 1)):
            raise Wrong(f'Host {hosts}')
        host = hosts[0] if hosts else None
        if not self.written and target[:1] != b'/' and (match := re.fullmatch(rb'(?i:https?)://([^/?]*)(/.*|\?.*)?', target, re.S)):
            if not hosts and message.minor:
                raise Wrong('absolute-form without Host')
            host, target = match[1], match[2] or (b'*' if message.method == b'OPTIONS' else b'/')  # RFC 9112 3.2.4
            target = target if target[:1] in b'/*' else b'/' + target
        # RFC 9112 3.2: who knows no authority (HTTP/1.0 without Host) says an empty one.
        message.host = host_of(host) if host or (host is not None and not self.written) else (b'', None)
        if message.host is None or message.host[0] is None:
            raise Wrong(f'Host {host!r}')
        if target == b'*':
            message.target = target if message.method == b'OPTIONS' or not self.written else None
        else:
            message.target = normal_target(target)
        if message.target is None or (self.written and message.target != message.start[1]):
            raise Wrong(f'target {message.start[1][:200]!r}, normal form {message.target!r}')
        if message.method == b'CONNECT':
            raise Wrong('CONNECT')
        self.frame(message)
        self.connection(message)
        self.begin(message)

    def answer_head(self, message):
        status = message.status
        method = self.methods[self.finals] if self.finals < len(self.methods) else b'GET'
        self.frame(message)
        self.connection(message)
        if status < 200 and status != 101:
            if message.framing != 'none':
                raise Wrong(f'{status} with a length')
            self.interim.append(status)
            return
        if status == 101:
            raise Wrong('101')  # nobody asks for it here
        if self.written and (not message.all(b'date') or (status == 204 and message.framing != 'none')):
            raise Wrong(f'{status}: fields {message.fields}')
        self.finals += 1
        message.interim, self.interim = self.interim, []
        if method == b'HEAD' or status in (204, 304):
            message.framing = 'none'
        elif message.framing == 'none':
            message.framing = 'close'
            message.closes = True
        self.begin(message)

    def begin(self, message):
        self.messages.append(message)
        self.left = message.length
        if message.framing == 'chunked':
            self.state = self.chunk
        elif message.framing == 'close':
            self.state = self.until_close
        elif message.framing == 'length' and message.length:
            self.state = self.body
        else:
            self.finish(message)

    def finish(self, message):
        message.complete, message.end, self.skipped = True, self.used, False
        self.state = self.stop if message.closes and not self.written else self.head

    def body(self):
        message = self.messages[-1]
        got = self.take(min(self.left, len(self.data)))
        message.body += got
        self.left -= len(got)
        if not self.left:
            self.finish(message)
            return True
        return False

    def until_close(self):
        self.messages[-1].body += self.take(len(self.data))
        return False

    def chunk(self):
        line = self.line()
        if line is None:
            return False
        match = (WRITTEN_CHUNK if self.written else CHUNK).fullmatch(line)
        if not match or int(match[1], 16) >= 1 << 63:
            raise Wrong(f'chunk size {line[:80]!r}')
        self.left = int(match[1], 16)
        self.state = self.chunk_data if self.left else self.trailer
        return True

    def chunk_data(self):
        got = self.take(min(self.left, len(self.data)))
        self.messages[-1].body += got
        self.left -= len(got)
        if self.left:
            return False
        if len(self.data) < 2:
            if self.data and self.data != b'\r':
                raise Wrong('chunk end')
            return False
        if self.take(2) != b'\r\n':
            raise Wrong('chunk end')
        self.state = self.chunk
        return True

    def trailer(self):
        line = self.line()
        if line is None:
            return False
        if line:
            name, value = self.section([line])[0]
            if self.written and name in (b'content-length', b'transfer-encoding', b'host', b'connection', b'trailer', b'te', b'upgrade', *HOP_BY_HOP):
                raise Wrong(f'trailer {name!r}')
            self.messages[-1].trailers.append((name, value))
            return True
        self.finish(self.messages[-1])
        return True
