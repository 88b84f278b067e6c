"""Raw HTTP/2 on both sides of a gateway: every frame is put together by the test, windows are given and taken by it, and what comes is read strictly by
RFC 9113 (Malformed). `Client` and `Upstream` behave well unless they are told otherwise. Only the standard library; no thread but those of Upstream."""
import collections
import re
import socket
import ssl
import struct
import threading
import time

from lib import hpack
from lib.gateway import PATIENCE

PREFACE = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM = ACK = 1
END_HEADERS, PADDED, PRIORITY_FLAG = 4, 8, 32
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8
ERRORS = ('NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR '
          'ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED').split()
NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+")
VALUE = re.compile(rb'(?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?')
OF_A_CONNECTION = {b'connection', b'proxy-connection', b'keep-alive', b'transfer-encoding', b'upgrade'}

Frame = collections.namedtuple('Frame', 'type flags stream payload')


class Malformed(Exception):
    """The peer broke a rule."""


class Ended(Exception):
    """The connection was closed before what was waited for."""


def frame(kind, flags=0, stream=0, payload=b'', length=None):
    return struct.pack('>I', len(payload) if length is None else length)[1:] + struct.pack('>BBI', kind, flags, stream) + payload


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b''.join(struct.pack('>HI', key, value) for key, value in pairs))


def headers(stream, fields, end=True, whole=True):
    """fields: a list, or a block of bytes."""
    payload = fields if isinstance(fields, bytes) else hpack.block(fields)
    return frame(HEADERS, (END_STREAM if end else 0) | (END_HEADERS if whole else 0), stream, payload)


def header_frames(stream, fields, end=True, size=16384):
    """HEADERS and as many CONTINUATION as it takes."""
    payload = fields if isinstance(fields, bytes) else hpack.block(fields)
    pieces = [payload[i:i + size] for i in range(0, len(payload), size)] or [b'']
    out = [headers(stream, pieces[0], end, len(pieces) == 1)]
    return out + [frame(CONTINUATION, END_HEADERS if i == len(pieces) - 1 else 0, stream, piece) for i, piece in enumerate(pieces) if i]


def data(stream, payload=b'', end=False, pad=None):
    if pad is None:
        return frame(DATA, END_STREAM if end else 0, stream, payload)
    return frame(DATA, PADDED | (END_STREAM if end else 0), stream, bytes([pad]) + payload + bytes(pad))


def reset(stream, code=8):
    return frame(RST_STREAM, 0, stream, struct.pack('>I', code))


def window_update(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack('>I', size))


def goaway(last=0, code=0, text=b''):
    return frame(GOAWAY, 0, 0, struct.pack('>II', last, code) + text)


def ping(payload=b'12345678', ack=False):
    return frame(PING, ACK if ack else 0, 0, payload)


def request_fields(path='/', host='a.example', method='GET', more=(), scheme='http'):
    raw = lambda text: text if isinstance(text, bytes) else text.encode()
    return [(b':method', raw(method)), (b':scheme', raw(scheme)), (b':path', raw(path)), (b':authority', raw(host))] + [(raw(n), raw(v)) for n, v in more]


class Stream:
    """What came on a stream. body: bytes, or only counted if the connection does not keep them."""

    def __init__(self, number, window):
        self.id, self.window = number, window
        self.interim = []       # statuses
        self.fields = None      # of the head, pseudo-header fields included
        self.body, self.size = b'', 0
        self.trailers = []
        self.ended = False      # END_STREAM came
        self.reset = None       # the code of RST_STREAM
        self.no_body = False
        self.local_end = False  # we are done, or did not wait for the end

    @property
    def over(self):
        return self.ended or self.reset is not None

    def all(self, name):
        return [v for n, v in self.fields or [] if n == name]

    @property
    def status(self):
        got = self.all(b':status')
        return int(got[0]) if got else None

    def __str__(self):
        return f'status {self.status}, interim {self.interim}, {self.size} bytes {self.body[:100]!r}, ended {self.ended}, reset {code_name(self.reset)}'


def code_name(code):
    return None if code is None else ERRORS[code] if code < len(ERRORS) else str(code)


class Connection:
    """One side. `server`: we are it. credit: every byte received is given back at once. keep: bodies are kept, not only counted."""

    def __init__(self, sock, server=False, start=True, more=(), credit=True, keep=True, auto=True):
        self.sock, self.server, self.credit, self.keep, self.auto = sock, server, credit, keep, auto
        self.received, self.decoder, self.streams = bytearray(), hpack.Decoder(), {}
        self.settings, self.settings_seen = {}, 0
        self.window, self.initial, self.max_frame = 65535, 65535, 16384  # of what we send
        self.goaway, self.closed = None, False  # goaway: (last stream, code, text)
        self.pongs, self.seen = [], collections.Counter()  # answers to our PINGs; frames by type
        self.block = None  # (stream, flags, bytes) while CONTINUATION has to follow
        self.next = 2 if server else 1
        self.ignored = set()  # streams that we have reset: what was on its way is not looked at
        if start:
            self.send((b'' if server else PREFACE) + settings(*more))

    # ---- out

    def send(self, *pieces):
        try:
            self.sock.sendall(b''.join(pieces))
        except OSError as error:
            self.closed = self.closed or isinstance(error, (ConnectionError, ssl.SSLError))
            raise Ended(str(error)) from error

    def reset(self, stream, code=8):
        self.ignored.add(stream.id)
        self.send(reset(stream.id, code))

    def open(self, fields, end=True):
        """HEADERS on a new stream."""
        stream = Stream(self.next, self.initial)
        stream.no_body = (b':method', b'HEAD') in fields if not isinstance(fields, bytes) else False
        self.next += 2
        self.streams[stream.id] = stream
        self.send(*header_frames(stream.id, fields, end))
        return stream

    def send_body(self, stream, body, end=True):
        """As fast as the peer's windows allow; stops if the stream is over."""
        view, at = memoryview(body), 0
        while at < len(view):
            room = min(len(view) - at, self.window, stream.window, self.max_frame)
            if stream.over and not self.server or stream.reset is not None:
                return
            if room <= 0:
                self.need()
                continue
            self.window -= room
            stream.window -= room
            at += room
            self.send(data(stream.id, bytes(view[at - room:at]), end and at == len(view)))
        if end and not len(view):
            self.send(data(stream.id, b'', True))

    def request(self, path='/', host='a.example', method='GET', more=(), body=None, trailers=None, scheme='http'):
        """A whole request; the answer is waited for."""
        stream = self.open(request_fields(path, host, method, more, scheme), body is None and trailers is None)
        if body is not None:
            self.send_body(stream, body, trailers is None)
        if trailers is not None:
            self.send(headers(stream.id, list(trailers), True))
        return self.finish(stream)

    # ---- in

    def step(self, seconds=PATIENCE):
        """Reads and handles one frame. None: nothing came for so long, or the peer has closed (`closed`)."""
        end = time.monotonic() + seconds
        while True:
            if len(self.received) >= 9:
                size = int.from_bytes(self.received[:3], 'big')
                if size > 16384:
                    raise Malformed(f'a frame of {size} bytes')
                if len(self.received) >= 9 + size:
                    kind, flags, stream = struct.unpack_from('>BBI', self.received, 3)
                    got = Frame(kind, flags, stream & 0x7fffffff, bytes(self.received[9:9 + size]))
                    del self.received[:9 + size]
                    self.handle(got)
                    return got
            if self.closed:
                return None
            left = end - time.monotonic()
            if left <= 0:
                return None
            self.sock.settimeout(left)
            try:
                piece = self.sock.recv(65536)
            except TimeoutError:
                return None
            except OSError:
                piece = b''
            finally:
                try:
                    self.sock.settimeout(PATIENCE)
                except OSError:
                    pass
            self.closed = not piece
            self.received += piece

    def need(self):
        """Another frame must come."""
        if self.step() is None:
            raise Ended('closed' if self.closed else f'nothing came in {PATIENCE} s')

    def until(self, check, seconds=PATIENCE):
        """Handles frames until check() is true; false if the peer has closed or the time is over."""
        end = time.monotonic() + seconds
        while not check():
            if self.step(max(0.001, end - time.monotonic())) is None and (self.closed or time.monotonic() >= end):
                return bool(check())
        return True

    def finish(self, stream):
        """Until the peer's side of the stream is over."""
        if not self.until(lambda: stream.over):
            raise Ended(f'{"closed" if self.closed else "silence"} on stream {stream.id}: {stream}, GOAWAY {self.goaway}')
        return stream

    def ready(self):
        """Until the peer's SETTINGS are here and a PING came back: all that was sent before has been looked at."""
        mark = b'%08d' % len(self.pongs)
        self.send(ping(mark))
        if not self.until(lambda: self.settings_seen and mark in self.pongs):
            raise Ended(f'no answer to a PING; GOAWAY {self.goaway}')
        return self

    def ends(self, seconds=PATIENCE):
        """Whether the peer closes the connection, or says GOAWAY with an error."""
        return self.until(lambda: self.closed or (self.goaway is not None and self.goaway[1] != 0), seconds)

    def handle(self, f):
        self.seen[f.type] += 1
        if self.block is not None and (f.type != CONTINUATION or f.stream != self.block[0]):
            raise Malformed(f'{f} inside a header block')
        if f.type == DATA:
            self.on_data(f)
        elif f.type == HEADERS:
            payload = self.unpad(f)
            if f.flags & PRIORITY_FLAG:
                payload = payload[5:]
            self.block = (f.stream, f.flags, payload)
            if f.flags & END_HEADERS:
                self.on_block()
        elif f.type == CONTINUATION:
            if self.block is None:
                raise Malformed('CONTINUATION without HEADERS')
            self.block = (self.block[0], self.block[1], self.block[2] + f.payload)
            if f.flags & END_HEADERS:
                self.on_block()
        elif f.type == RST_STREAM:
            (code,) = struct.unpack('>I', f.payload)
            stream = self.stream(f)
            if stream and stream.reset is not None:
                raise Malformed('RST_STREAM twice')
            if stream and not (stream.ended and code == 0):
                stream.reset = code
            if stream and self.server:
                self.on_reset(stream)
        elif f.type == SETTINGS:
            self.on_settings(f)
        elif f.type == PING:
            if len(f.payload) != 8:
                raise Malformed('PING')
            if f.flags & ACK:
                self.pongs.append(f.payload)
            elif self.auto:
                self.send(ping(f.payload, True))
        elif f.type == GOAWAY:
            last, code = struct.unpack_from('>II', f.payload)
            if self.goaway is not None and last > self.goaway[0]:
                raise Malformed('GOAWAY with a larger stream than before')
            self.goaway = (last, code, f.payload[8:])
        elif f.type == WINDOW_UPDATE:
            (size,) = struct.unpack('>I', f.payload)
            if size == 0:
                raise Malformed('WINDOW_UPDATE of nothing')
            if f.stream == 0:
                self.window += size
            elif f.stream in self.streams:
                self.streams[f.stream].window += size
        elif f.type == PUSH_PROMISE:
            raise Malformed('PUSH_PROMISE')

    def unpad(self, f):
        if not f.flags & PADDED:
            return f.payload
        if not f.payload or f.payload[0] >= len(f.payload):
            raise Malformed('padding')
        return f.payload[1:len(f.payload) - f.payload[0]]

    def stream(self, f):
        if f.stream not in self.streams:
            raise Malformed(f'{f} on an idle stream')
        return None if f.stream in self.ignored else self.streams[f.stream]

    def on_settings(self, f):
        if f.flags & ACK:
            return
        if f.stream or len(f.payload) % 6:
            raise Malformed('SETTINGS')
        for key, value in struct.iter_unpack('>HI', f.payload):
            self.settings[key] = value
            if key == INITIAL_WINDOW_SIZE:
                for stream in self.streams.values():
                    stream.window += value - self.initial
                self.initial = value
            elif key == MAX_FRAME_SIZE:
                self.max_frame = min(value, 65536)
        self.settings_seen += 1
        if self.auto:
            self.send(frame(SETTINGS, ACK))

    def on_data(self, f):
        payload, stream = self.unpad(f), self.stream(f)
        if self.credit and f.payload:
            self.send(window_update(0, len(f.payload)), window_update(f.stream, len(f.payload)) if stream and not f.flags & END_STREAM else b'')
        if stream is None:
            return
        if stream.over or stream.fields is None or (stream.no_body and payload):
            raise Malformed(f'DATA of {len(payload)} bytes where there is none: {stream}')
        stream.size += len(payload)
        if self.keep:
            stream.body += payload
        if f.flags & END_STREAM:
            self.on_end(stream)
        elif self.server:
            self.on_piece(stream)

    def on_block(self):
        number, flags, payload = self.block
        self.block = None
        try:
            fields = self.decoder.decode(payload)
        except hpack.Bad as bad:
            raise Malformed(f'HPACK: {bad}') from bad
        if self.server and number not in self.streams:
            if number % 2 == 0 or number < self.next - 1:
                raise Malformed(f'stream {number} is opened')
            self.next = number + 3
            self.streams[number] = Stream(number, self.initial)
        stream = self.stream(Frame(HEADERS, flags, number, b''))
        if stream is None:
            return
        if stream.over:
            raise Malformed(f'HEADERS behind the end: {stream}')
        end = bool(flags & END_STREAM)
        self.check(fields)
        if stream.fields is not None:
            if not end or any(n.startswith(b':') for n, _ in fields):
                raise Malformed(f'trailers: {fields}, end {end}')
            stream.trailers = fields
        elif self.server:
            self.take_request(stream, fields)
        elif not self.take_answer(stream, fields, end):
            return
        if end:
            self.on_end(stream)
        elif self.server and not stream.trailers:
            self.on_piece(stream)

    @staticmethod
    def check(fields):
        regular = False
        for name, value in fields:
            if not NAME.fullmatch(name) or not VALUE.fullmatch(value):
                raise Malformed(f'field {name!r}: {value!r}')
            if name.startswith(b':') and regular:
                raise Malformed(f'{name!r} behind other fields')
            regular |= not name.startswith(b':')
            if name in OF_A_CONNECTION or (name == b'te' and value != b'trailers'):
                raise Malformed(f'field {name!r}: {value!r} of a connection')
        lengths = [v for n, v in fields if n == b'content-length']
        if len(lengths) > 1 or not all(re.fullmatch(rb'0|[1-9][0-9]{0,18}', v) for v in lengths):
            raise Malformed(f'content-length {lengths}')

    @staticmethod
    def take_request(stream, fields):
        pseudo = {n: v for n, v in fields if n.startswith(b':')}
        wanted = {b':method', b':scheme', b':path', b':authority'} | ({b':protocol'} if b':protocol' in pseudo else set())
        if pseudo.get(b':path') == b'*' and b':authority' not in pseudo:
            wanted.discard(b':authority')  # the asterisk form has none; Host says it
        elif any(n == b'host' for n, _ in fields):
            raise Malformed('host beside :authority')
        if set(pseudo) != wanted or len(pseudo) != sum(n.startswith(b':') for n, _ in fields):
            raise Malformed(f'pseudo-header fields {sorted(pseudo)}')
        stream.fields = fields

    @staticmethod
    def take_answer(stream, fields, end):
        """False: it was an interim one."""
        pseudo = [(n, v) for n, v in fields if n.startswith(b':')]
        if len(pseudo) != 1 or pseudo[0][0] != b':status' or not re.fullmatch(b'[1-5][0-9][0-9]', pseudo[0][1]):
            raise Malformed(f'pseudo-header fields {pseudo}')
        status, length = int(pseudo[0][1]), any(n == b'content-length' for n, _ in fields)
        if status < 200:
            if end or status == 101 or length:
                raise Malformed(f'interim {fields}, end {end}')
            stream.interim.append(status)
            return False
        if status == 204 and length:
            raise Malformed('204 with a length')
        stream.fields, stream.no_body = fields, stream.no_body or status in (204, 304)
        return True

    def on_end(self, stream):
        stream.ended = True
        lengths = stream.all(b'content-length')
        if lengths and not stream.no_body and int(lengths[0]) != stream.size:
            raise Malformed(f'content-length {lengths[0]} and {stream.size} bytes')
        if self.server:
            self.on_request(stream)

    # A server's.
    def on_piece(self, stream):
        """A head without an end, or a part of a body."""

    def on_request(self, stream):
        """A whole request."""

    def on_reset(self, stream):
        """The client takes it back."""

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def connect(port, address='127.0.0.1', tls=None, receive_buffer=None, alpn='h2'):
    """A socket; tls: the name to ask for, certificates are not looked at."""
    sock = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(PATIENCE)
    sock.connect((address, port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols([alpn])
        sock = context.wrap_socket(sock, server_hostname=tls)
        if sock.selected_alpn_protocol() != alpn:
            raise Ended(f'ALPN chose {sock.selected_alpn_protocol()}')
    return sock


def Client(port, address='127.0.0.1', tls=None, receive_buffer=None, **options):
    return Connection(connect(port, address, tls, receive_buffer), **options)


class Serving(Connection):
    """One connection to Upstream."""

    def __init__(self, sock, owner, number):
        super().__init__(sock, server=True, more=owner.settings)
        self.owner, self.number = owner, number

    def on_piece(self, stream):
        if self.owner.early:
            self.answer(stream)

    def on_request(self, stream):
        self.answer(stream)

    def on_reset(self, stream):
        with self.owner.lock:
            self.owner.resets.append((stream.id, stream.reset))

    def answer(self, stream):
        if stream.local_end:
            return
        stream.local_end = True
        with self.owner.lock:
            self.owner.requests.append((self.number, stream))
            script = self.owner.answer
        (script or plain)(self, stream)


def plain(conn, stream):
    """200 "ok"."""
    head = (b':method', b'HEAD') in stream.fields
    conn.send(headers(stream.id, [(b':status', b'200'), (b'content-length', b'2')], head), b'' if head else data(stream.id, b'ok', True))


class Upstream:
    """An HTTP/2 server by prior knowledge. Each whole request (early: each head) is answered by script(connection, stream). What it got is in `requests`: (connection
    number, Stream); what was wrong in `errors`; `resets`: what clients took back."""

    def __init__(self, address='127.0.0.1', port=0, settings=()):
        self.listener = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(256)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.settings, self.connections, self.open = settings, 0, set()
        self.script()
        threading.Thread(target=self.accept, daemon=True).start()

    def script(self, answer=None, early=False):
        with self.lock:
            self.answer, self.early = answer, early
            self.requests, self.errors, self.resets = [], [], []

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                number = self.connections
                self.open.add(sock)
            threading.Thread(target=self.serve, args=(sock, number), daemon=True).start()

    def serve(self, sock, number):
        try:
            sock.settimeout(PATIENCE)
            preface = b''
            while len(preface) < len(PREFACE) and (got := sock.recv(len(PREFACE) - len(preface))):
                preface += got
            if preface != PREFACE:
                if preface:
                    raise Malformed(f'preface {preface!r}')
                return
            conn = Serving(sock, self, number)
            while not conn.closed:
                conn.step()
        except Malformed as error:
            with self.lock:
                self.errors.append(str(error))
        except (Ended, OSError):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def stop(self):
        self.listener.close()
        self.drop()

    def drop(self):
        """Ends every connection."""
        with self.lock:
            socks = list(self.open)
        for sock in socks:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
