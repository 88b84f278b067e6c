"""HTTP/2 (RFC 9113, HPACK by tests/lib/hpack.py) without I/O: what a client or a server says, frame by frame. `error` is a connection error, a stream's `wrong` what
makes its message malformed. Of what a gateway wrote neither may be there. Of what a stranger wrote they say what it cannot have meant; where a recipient may choose,
`doubt` (of the connection or a stream) says that both are right. Shares no code with the parsers it judges."""
import functools
import re
import struct

from lib import hpack
from lib.raw_h2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, PADDED, PING, PREFACE, PRIORITY, PRIORITY_FLAG,
                        PRIORITY_UPDATE, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE)
from wire.h1 import LENGTH, TOKEN, WRITTEN_LENGTH, host_of, normal_target

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
VALUE = re.compile(rb'(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?')
OF_A_CONNECTION = {b'connection', b'proxy-connection', b'keep-alive', b'transfer-encoding', b'upgrade'}
MOST = 0x7fffffff


class Decoder(hpack.Decoder):
    """With a memory for coded strings, which repeat."""

    def _string(self, data, at):
        if at >= len(data):
            raise hpack.Bad('string')
        coded = data[at] & 0x80
        size, at = self._integer(data, at, 7)
        if at + size > len(data):
            raise hpack.Bad('string')
        return (unhuffman(data[at:at + size]) if coded else data[at:at + size]), at + size


@functools.lru_cache(65536)
def unhuffman(data):
    """As hpack.unhuffman, with a number for all bits instead of a walk over them."""
    codes, bits, left, out = hpack._CODES, int.from_bytes(data, 'big'), 8 * len(data), bytearray()
    while left:
        for length in range(5, min(30, left) + 1):
            symbol = codes.get((length, bits >> left - length))
            if symbol is not None:
                break
        else:
            if left > 7 or bits != (1 << left) - 1:
                raise hpack.Bad('padding' if left < 30 else 'no such code')
            return bytes(out)
        if symbol == 256:
            raise hpack.Bad('EOS in a string')
        out.append(symbol)
        left -= length
        bits &= (1 << left) - 1
    return bytes(out)


class Wrong(Exception):
    """A connection error."""


class Malformed(Exception):
    """A message is."""


class Stream:
    __slots__ = ('id', 'fields', 'pseudo', 'method', 'target', 'host', 'status', 'interim', 'body', 'trailers', 'length', 'ended', 'reset', 'wrong', 'doubt', 'window',
                 'unforwardable', 'at_end')

    def __init__(self, number, window=65535):
        self.id, self.window, self.fields, self.pseudo = number, window, None, {}
        self.method = self.target = self.host = self.status = self.length = self.reset = self.wrong = None
        self.interim, self.body, self.trailers = [], bytearray(), []
        self.ended = self.doubt = self.unforwardable = False
        self.at_end = None  # bytes of the connection used until its end

    @property
    def complete(self):
        return self.ended and self.wrong is None and self.fields is not None

    def all(self, name):
        return [v for n, v in self.fields or [] if n == name]


class Reader:
    """server: we are one, so a client's bytes are read. written: by the gateway. methods: {stream: method} of what we asked, for answers."""

    def __init__(self, server, written=True, methods=(), windows=65535):
        self.server, self.written, self.methods = server, written, dict(methods)
        self.data, self.used, self.error, self.doubt = bytearray(), 0, None, False
        self.streams, self.last, self.block = {}, 0, None
        self.decoder, self.max_frame = Decoder(), 16384
        self.begun = self.settled = False
        self.pings, self.pongs, self.acks, self.goaway, self.faults = [], [], 0, None, []
        self.window, self.initial, self.new = windows, windows, []  # new: streams whose message is complete, until taken
        self.ours = {}  # streams that we have reset: code
        self.lost = 0   # bytes of DATA whose credit has to be given back

    def feed(self, data):
        if self.error is None:
            self.data += data
            try:
                while self.step():
                    pass
            except Wrong as wrong:
                self.error = str(wrong)
        return self

    def until_over(self, number):
        """Takes what was fed as long as a stream goes on: how many bytes come before whoever asked may think that it is over."""
        try:
            while self.step():
                s = self.streams.get(number)
                if self.doubt or self.goaway or s is not None and (s.ended or s.reset is not None or s.wrong or s.fields is not None and (self.bodiless(s) or s.length == len(s.body))):
                    break
        except Wrong:
            pass
        return self.used

    def between(self):
        """Not inside of a frame or a header block."""
        return not self.data and self.block is None

    def step(self):
        if self.server and not self.begun:
            if not PREFACE.startswith(self.data[:len(PREFACE)]):
                raise Wrong('preface')
            if len(self.data) < len(PREFACE):
                return False
            del self.data[:len(PREFACE)]
            self.used, self.begun = len(PREFACE), True
        if len(self.data) < 9:
            return False
        size = int.from_bytes(self.data[:3], 'big')
        kind, flags, stream = self.data[3], self.data[4], int.from_bytes(self.data[5:9], 'big')
        if size > self.max_frame:
            raise Wrong(f'a frame of {size} bytes')
        if stream > MOST and self.written:
            raise Wrong('the reserved bit')
        stream &= MOST
        if not self.settled and (kind != SETTINGS or flags & ACK):
            raise Wrong('the first frame is not SETTINGS')
        if self.block is not None and (kind != CONTINUATION or stream != self.block[0]):
            raise Wrong(f'frame {kind} inside a header block')
        if len(self.data) < 9 + size:
            return False
        payload = bytes(self.data[9:9 + size])
        del self.data[:9 + size]
        self.used += 9 + size
        handler = self.HANDLERS.get(kind)
        if handler:
            handler(self, flags, stream, payload)
        elif self.written:
            raise Wrong(f'frame of type {kind}')
        return True

    # ---- streams

    def tail(self):
        """Half a frame: the bytes of a body may have been handed on already."""
        if self.error is None and len(self.data) > 9 and self.data[3] == DATA and int.from_bytes(self.data[:3], 'big') <= self.max_frame:
            stream = self.streams.get(int.from_bytes(self.data[5:9], 'big') & MOST)
            if stream is not None and not stream.ended and stream.wrong is None:
                return stream.id, bytes(self.data[9 + bool(self.data[4] & PADDED):])
        return 0, b''

    def idle(self, number):
        if number in self.streams:
            return False
        if self.server:
            return number % 2 == 0 or number > self.last
        return number not in self.methods

    def fault(self, stream, why):
        if stream.wrong is None:
            stream.wrong = why
            self.faults.append(f'stream {stream.id}: {why}')

    def late(self, number):
        """Something behind the end of a stream: of the stream or of the connection, as the peer knows."""
        if self.written and number not in self.ours:
            raise Wrong(f'behind the end of stream {number}')
        if not self.written:
            self.doubt = True

    def stream(self, number, why):
        if number == 0:
            raise Wrong(f'{why} on stream 0')
        if self.idle(number):
            raise Wrong(f'{why} on idle stream {number}')
        if number not in self.streams:
            if self.server:  # skipped, so closed
                self.late(number)
                return None
            self.streams[number] = Stream(number, self.initial)
        return self.streams[number]

    # ---- frames

    @staticmethod
    def unpad(flags, payload):
        if not flags & PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            raise Wrong('padding')
        return payload[1:len(payload) - payload[0]]

    def on_data(self, flags, number, payload):
        stream = self.stream(number, 'DATA')
        self.window -= len(payload)
        self.lost += len(payload)
        if stream is None:
            return
        try:
            content = self.unpad(flags, payload)
        except Wrong:
            if self.written or not (stream.wrong or stream.ended or stream.reset is not None or stream.doubt or self.doubt):
                raise
            self.doubt = True  # it is over, or was reset, and what follows may be passed over unread (RFC 9113 5.1)
            return
        stream.window -= len(payload)
        if self.written and (self.window < 0 or stream.window < 0):
            raise Wrong(f'beyond the window: {self.window}, stream {number} {stream.window}')
        if stream.ended or stream.reset is not None or number in self.ours:
            return self.late(number)
        if stream.window < 0:
            stream.doubt = self.doubt = True
        if stream.fields is None and stream.wrong is None:
            self.fault(stream, 'DATA before a head')
        if stream.length is not None and len(stream.body) + len(content) > stream.length and not self.bodiless(stream):
            self.fault(stream, f'{len(stream.body)} and {len(content)} bytes of {stream.length}')
            content = content[:stream.length - len(stream.body)]  # in pieces, the first of them may have been all that was announced
        stream.body += content
        if not self.server and content and self.bodiless(stream):
            self.fault(stream, f'content of {stream.method} {stream.status}')
        if flags & END_STREAM:
            self.finish(stream)

    def bodiless(self, stream):
        return not self.server and (self.methods.get(stream.id) == b'HEAD' or stream.status in (204, 304))

    def finish(self, stream):
        stream.ended, stream.at_end = True, self.used
        if stream.length is not None and len(stream.body) != stream.length and not self.bodiless(stream):
            self.fault(stream, f'{len(stream.body)} bytes of {stream.length}')
        if stream.fields is None:
            self.fault(stream, 'ended without a head')
        if stream.wrong is None:
            self.new.append(stream)

    def on_headers(self, flags, number, payload):
        if number == 0:
            raise Wrong('HEADERS on stream 0')
        payload, doubt = self.unpad(flags, payload), False
        if flags & PRIORITY_FLAG:
            if len(payload) < 5 or self.written:
                raise Wrong('priority in HEADERS')
            doubt = int.from_bytes(payload[:4], 'big') & MOST == number
            payload = payload[5:]
        if self.server and number not in self.streams:
            if number % 2 == 0:
                raise Wrong(f'stream {number} is opened by a client')
            if number <= self.last:
                if self.written:
                    raise Wrong(f'stream {number} is opened behind {self.last}')
                self.doubt = True  # far behind it may have been forgotten that nobody opened it
            self.streams[number] = Stream(number, self.initial)
            if number < self.last:
                self.fault(self.streams[number], f'opened behind {self.last}')
            self.last = max(self.last, number)
        elif not self.server:
            self.stream(number, 'HEADERS')
        self.streams[number].doubt |= doubt
        self.doubt |= doubt
        self.block = (number, flags, payload)
        if flags & END_HEADERS:
            self.on_block()

    def on_continuation(self, flags, number, payload):
        if self.block is None:
            raise Wrong('CONTINUATION without HEADERS')
        self.block = (number, self.block[1], self.block[2] + payload)
        if flags & END_HEADERS:
            self.on_block()

    def on_block(self):
        number, flags, payload = self.block
        self.block = None
        try:
            fields = self.decoder.decode(payload)
        except (hpack.Bad, IndexError) as bad:
            raise Wrong(f'HPACK: {bad!r}') from bad
        stream, end = self.streams[number], bool(flags & END_STREAM)
        if stream.ended or stream.reset is not None or number in self.ours:
            return self.late(number)
        try:
            self.section(stream, fields, end)
        except Malformed as malformed:
            self.fault(stream, str(malformed))
        if end:
            self.finish(stream)

    def section(self, stream, fields, end):
        pseudo, regular = [], []
        for name, value in fields:
            if name[:1] == b':':
                if regular:
                    raise Malformed(f'{name!r} behind other fields')
                pseudo.append((name, value))
            else:
                regular.append((name, value))
                if not NAME.fullmatch(name):
                    raise Malformed(f'name {name!r}')
                if name in OF_A_CONNECTION or (name == b'te' and (value.lower() != b'trailers' or (self.written and not self.server))):
                    raise Malformed(f'{name!r}: {value[:80]!r} of a connection')
            if not VALUE.fullmatch(value):
                raise Malformed(f'value of {name!r}: {value[:80]!r}')
        if len({n for n, _ in pseudo}) != len(pseudo):
            raise Malformed(f'pseudo-header fields {pseudo}')
        pseudo = dict(pseudo)
        if stream.fields is not None:
            if pseudo or not end:
                raise Malformed(f'trailers {fields}, end {end}')
            # RFC 9110 6.5.1: none of them may be sent there; who gets one may refuse or drop it.
            if any(n in (b'content-length', b'host', b'trailer') for n, _ in regular):
                if self.written:
                    raise Malformed(f'trailers {fields}')
                stream.doubt = True
            stream.trailers = regular
            return
        if stream.wrong is not None:
            return
        lengths = [v for n, v in regular if n == b'content-length']
        if len(lengths) > 1 or not all((WRITTEN_LENGTH if self.written else LENGTH).fullmatch(v) for v in lengths):
            raise Malformed(f'content-length {lengths}')
        length = int(lengths[0]) if lengths else None
        if self.server:
            self.request(stream, pseudo, regular)
        else:
            status = pseudo.pop(b':status', b'')
            if pseudo or not re.fullmatch(b'[1-5][0-9][0-9]', status) or status == b'101':
                raise Malformed(f'status {status!r}, {pseudo}')
            if status[:1] == b'1':
                if end or length is not None:
                    raise Malformed(f'interim {status!r}, length {length}, end {end}')
                stream.interim.append(int(status))
                return
            stream.status = int(status)
            if self.written and ((stream.status == 204 and length is not None) or not any(n == b'date' for n, _ in regular)):
                raise Malformed(f'{status!r}: {regular}')
        stream.length, stream.fields = length, regular

    def request(self, stream, pseudo, regular):
        unknown = set(pseudo) - {b':method', b':scheme', b':path', b':authority', b':protocol'}
        method, path, hosts = pseudo.get(b':method', b''), pseudo.get(b':path'), [v for n, v in regular if n == b'host']
        if unknown or not re.fullmatch(TOKEN, method):
            raise Malformed(f'pseudo-header fields {pseudo}')
        stream.pseudo, stream.method = pseudo, method
        if method == b'CONNECT' and b':protocol' not in pseudo:
            if self.written:
                raise Malformed('CONNECT')
            stream.unforwardable = True
            return
        if (b':protocol' in pseudo) != (method == b'CONNECT') or pseudo.get(b':scheme') not in (b'http', b'https') or path is None:
            raise Malformed(f'pseudo-header fields {pseudo}')
        if len(hosts) > 1 or (self.written and path != b'*' and (hosts or b':authority' not in pseudo)):
            raise Malformed(f'hosts {hosts}, {pseudo}')
        host = pseudo.get(b':authority', hosts[0] if hosts else b'')
        stream.host = host_of(host)
        if hosts and b':authority' in pseudo and host_of(hosts[0]) != stream.host:
            stream.doubt = True
        stream.target = path if path == b'*' and method == b'OPTIONS' else normal_target(path)
        if stream.target is None or (self.written and stream.target != path):
            raise Malformed(f'path {path[:100]!r}, normal form {stream.target!r}')
        if stream.host is None or not stream.host[0]:
            raise Malformed(f'host {host!r}')

    def on_priority(self, flags, number, payload):
        if self.written:
            raise Wrong('PRIORITY')
        if number == 0:
            raise Wrong('PRIORITY on stream 0')
        if len(payload) != 5:  # a stream error, if there is one
            self.doubt = True
            if number in self.streams:
                self.streams[number].doubt = True
        elif int.from_bytes(payload[:4], 'big') & MOST == number:
            self.doubt = True

    def on_reset(self, flags, number, payload):
        if len(payload) != 4:
            raise Wrong('RST_STREAM')
        stream = self.stream(number, 'RST_STREAM')
        if stream is None:
            return
        if stream.reset is not None and self.written:
            raise Wrong(f'RST_STREAM twice on stream {number}')
        if stream.reset is None:
            stream.reset = int.from_bytes(payload, 'big')

    def on_settings(self, flags, number, payload):
        if number or len(payload) % 6 or (flags & ACK and payload):
            raise Wrong('SETTINGS')
        if flags & ACK:
            self.acks += 1
            self.doubt |= self.acks > 1  # of what nobody sent
            return
        again, self.settled = self.settled, True
        values = list(struct.iter_unpack('>HI', payload))
        for i, (key, value) in enumerate(values):
            if any(key == later for later, _ in values[i + 1:]):  # nghttp2 looks at the last one only
                self.doubt = True
                continue
            if (key == 2 and value > (1 if self.server else 0)) or (key == INITIAL_WINDOW_SIZE and value > MOST) or (key == MAX_FRAME_SIZE and not 16384 <= value <= 0xffffff):
                raise Wrong(f'setting {key} is {value}')
            if key in (8, 9) and (value > 1 or again):  # RFC 9218 2.1: a change may be an error
                self.doubt = True

    def on_push(self, flags, number, payload):
        raise Wrong('PUSH_PROMISE')

    def on_ping(self, flags, number, payload):
        if number or len(payload) != 8:
            raise Wrong('PING')
        (self.pongs if flags & ACK else self.pings).append(payload)

    def on_goaway(self, flags, number, payload):
        if number or len(payload) < 8:
            raise Wrong('GOAWAY')
        last, code = struct.unpack_from('>II', payload)
        if self.goaway is not None and last & MOST > self.goaway[0]:
            if self.written:
                raise Wrong('GOAWAY with a larger stream than before')
            self.doubt = True
        self.goaway = (last & MOST, code)

    def on_window_update(self, flags, number, payload):
        if len(payload) != 4:
            raise Wrong('WINDOW_UPDATE')
        size = int.from_bytes(payload, 'big') & MOST
        stream = self.stream(number, 'WINDOW_UPDATE') if number else None
        if size == 0:
            if number == 0 or self.written:
                raise Wrong('WINDOW_UPDATE of nothing')
            if stream:
                self.doubt = stream.doubt = True  # an error of the stream may be one of the connection (RFC 9113 5.4.1)
        if size > 1 << 29:  # whether it overflows depends on what was sent meanwhile, and on what came before
            self.doubt = True
            if stream:
                stream.doubt = True

    def on_priority_update(self, flags, number, payload):
        if self.written:
            raise Wrong('PRIORITY_UPDATE')
        self.doubt = True  # an extension (RFC 9218): who does not know it passes it over

    HANDLERS = {DATA: on_data, HEADERS: on_headers, PRIORITY: on_priority, RST_STREAM: on_reset, SETTINGS: on_settings, PUSH_PROMISE: on_push, PING: on_ping,
                GOAWAY: on_goaway, WINDOW_UPDATE: on_window_update, CONTINUATION: on_continuation, PRIORITY_UPDATE: on_priority_update}
