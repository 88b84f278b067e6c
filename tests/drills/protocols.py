"""Clients of HTTP/2, gRPC and WebSockets for the drills, each a thread that keeps its connection, and what answers gRPC. A failure is what the protocol's own words do not
cover; what they do is counted apart."""
import os
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib.gateway import PATIENCE  # noqa: E402
from lib.raw_h2 import PREFACE, Client, Connection, Ended, Malformed, code_name, data, headers, request_fields  # noqa: E402
from lib.websocket import BINARY, CLOSE, Cut, WebSocket  # noqa: E402
from lib.websocket import Malformed as MalformedFrame  # noqa: E402

REFUSED_STREAM, GOING_AWAY = 7, b'\x03\xe9'
GRPC = [(b'content-type', b'application/grpc'), (b'te', b'trailers')]


class Watched:
    """A socket that remembers a reset: to the connection above it is an end like others."""

    def __init__(self, sock):
        self.sock, self.reset = sock, False

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def recv(self, size):
        try:
            return self.sock.recv(size)
        except ConnectionResetError:
            self.reset = True
            raise


class Keeper(threading.Thread):
    """Does `turn` again and again; who has the connection closes it."""

    def __init__(self, pause):
        super().__init__(daemon=True)
        self.pause, self.failed, self.answered, self.go = pause, [], 0, True

    def run(self):
        due = time.monotonic()
        try:
            while self.go:
                try:
                    self.turn()
                except Malformed as error:
                    self.failed.append(f'malformed: {error}')
                    self.drop()
                except ConnectionRefusedError:
                    self.failed.append('refused')
                    time.sleep(0.1)
                due = max(due + self.pause, time.monotonic() - 1)
                time.sleep(max(0.0, due - time.monotonic()))
        except BaseException as error:  # pylint: disable=broad-except
            self.failed.append(f'the client itself: {error!r}')
            raise
        finally:
            self.drop()

    def drop(self):
        raise NotImplementedError

    def turn(self):
        raise NotImplementedError


class KeptH2(Keeper):
    """`streams` requests at once on one connection, again and again. A stream that GOAWAY leaves out or that is refused was not processed (RFC 9113 6.8, 8.7): it is asked again on
    a new connection. Every other end without an answer is a failure, and so is a reset of the connection."""

    def __init__(self, port, host, pause, tls=False, streams=3, good=lambda stream: stream.status == 200):
        super().__init__(pause)
        self.port, self.host, self.tls, self.streams, self.good = port, host, tls, streams, good
        self.conn, self.owed = None, 0
        self.beyond_goaway = self.refused_streams = self.goaways = 0

    def drop(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = None

    def dial(self):
        conn = Client(self.port, tls=self.host if self.tls else None)
        conn.sock = Watched(conn.sock)
        return conn

    def turn(self):
        try:
            if self.conn is not None:
                while self.conn.step(0.001) is not None:
                    pass
                self.leave_if_told()
            if self.conn is None:
                self.conn = self.dial()
        except (Ended, OSError) as error:
            self.failed.append(f'connect: {error!r}')
            return self.drop()
        conn, asked = self.conn, []
        try:
            for _ in range(self.streams):
                asked.append(conn.open(request_fields('/', self.host, scheme='https' if self.tls else 'http')))
        except Ended:
            pass  # the answers, or GOAWAY, say what became of them
        conn.until(lambda: all(s.over or self.beyond(s) for s in asked))
        for stream in asked:
            self.judge(stream)
        for number in [n for n in conn.streams if n < conn.next - 200]:
            del conn.streams[number]
        self.leave_if_told()

    def beyond(self, stream):
        return self.conn.goaway is not None and stream.id > self.conn.goaway[0]

    def judge(self, stream):
        conn = self.conn
        if stream.ended and stream.reset is None:
            if self.good(stream):
                self.answered += 1
            else:
                self.failed.append(str(stream))
        elif stream.reset == REFUSED_STREAM:
            self.refused_streams += 1
        elif self.beyond(stream) and conn.goaway[1] == 0:
            self.beyond_goaway += 1
        else:
            self.failed.append(f'stream {stream.id}: {stream}; GOAWAY {conn.goaway}, closed {conn.closed}, reset {conn.sock.reset}')

    def leave_if_told(self):
        conn = self.conn
        if conn.sock.reset:
            self.failed.append(f'the connection was reset; GOAWAY {conn.goaway}')
        elif conn.closed and conn.goaway is None:
            self.failed.append('the connection ended without GOAWAY')
        elif conn.goaway is not None and conn.goaway[1] != 0:
            self.failed.append(f'GOAWAY {code_name(conn.goaway[1])} {conn.goaway[2]!r}')
        if conn.closed or conn.goaway is not None:
            self.goaways += conn.goaway is not None
            self.drop()


def open_websocket(port, host, context=None):
    sock = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened = WebSocket(context.wrap_socket(sock, server_hostname=host) if context else sock, host)
        if not opened.good:
            raise ConnectionError(f'no WebSocket: {opened.status} {opened.fields}')
        return opened
    except BaseException:
        sock.close()
        raise


def echoes(socket_, words):
    """The message that comes back is this one; what else came: (opcode, payload)."""
    socket_.send(BINARY, words)
    got = socket_.frames.message()
    return got == (BINARY, words), got


class KeptWebSocket(Keeper):
    """One message to and fro in each turn. may_close(since): whether the gateway may say Close 1001 now to a WebSocket that is open since then; nothing else may end it."""

    def __init__(self, port, host, pause, context=None, may_close=lambda since: False):
        super().__init__(pause)
        self.port, self.host, self.context, self.may_close = port, host, context, may_close
        self.socket, self.since, self.closed_at_the_end = None, 0.0, 0

    def drop(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def turn(self):
        try:
            if self.socket is None:
                self.since = time.monotonic()  # before: it may be the last one that an old worker takes
                self.socket = open_websocket(self.port, self.host, self.context)
            same, (kind, payload) = echoes(self.socket, b'%d' % self.answered + b'x' * 100)
            if same:
                self.answered += 1
                return
            if kind == CLOSE and payload[:2] == GOING_AWAY and self.may_close(self.since):
                self.closed_at_the_end += 1
            else:
                self.failed.append(f'instead of the message {kind} {payload!r} after {time.monotonic() - self.since:.1f} s')
        except ConnectionRefusedError:
            raise
        except (OSError, Cut, MalformedFrame) as error:
            self.failed.append(f'{error!r} after {time.monotonic() - self.since:.1f} s')
        self.drop()


def message(payload):
    return struct.pack('>BI', 0, len(payload)) + payload


class KeptGrpc(Keeper):
    """In each turn a unary call, and a message to and fro on a stream that stays; both on one connection."""

    def __init__(self, port, host, pause, tls=False):
        super().__init__(pause)
        self.port, self.host, self.tls, self.conn, self.stream = port, host, tls, None, None
        self.unary = self.messages = 0

    def drop(self):
        if self.conn is not None:
            self.conn.close()
            self.conn = self.stream = None

    def turn(self):
        scheme = 'https' if self.tls else 'http'
        try:
            if self.conn is None:
                self.conn = Client(self.port, tls=self.host if self.tls else None)
                self.stream = self.conn.open(request_fields('/drill.Echo/Stream', self.host, 'POST', GRPC, scheme), False)
            conn, words = self.conn, message(b'%d' % self.answered + b'y' * 100)
            call = conn.request('/drill.Echo/Unary', self.host, 'POST', GRPC, words, scheme=scheme)
            if call.status == 200 and call.body == words and (b'grpc-status', b'0') in call.trailers:
                self.unary += 1
            else:
                self.failed.append(f'unary: {call}, trailers {call.trailers}')
            stream = self.stream
            conn.send_body(stream, words, False)
            conn.until(lambda: len(stream.body) >= len(words) or stream.over)
            if stream.body == words and not stream.over:
                self.messages += 1
                stream.body = b''
            else:
                self.failed.append(f'stream: {stream}')
                return self.drop()
            self.answered = self.unary + self.messages
            for number in [n for n in conn.streams if n != stream.id and n < conn.next - 200]:
                del conn.streams[number]
        except ConnectionRefusedError:
            raise
        except (Ended, OSError) as error:
            self.failed.append(f'{error!r}, GOAWAY {self.conn and self.conn.goaway}')
            self.drop()


class Echoing(Connection):
    """A server's side: what comes goes back, behind it grpc-status 0; a request that is no gRPC gets 200 "ok"."""

    def on_piece(self, stream):
        self.answer(stream, False)

    def on_request(self, stream):
        self.answer(stream, True)

    def answer(self, stream, end):
        if not any(n == b'content-type' and v.startswith(b'application/grpc') for n, v in stream.fields):
            if end:
                self.send(headers(stream.id, [(b':status', b'200'), (b'content-length', b'2')], False), data(stream.id, b'ok', True))
            return
        if not stream.local_end:
            stream.local_end = True  # here: the head is sent
            self.send(headers(stream.id, [(b':status', b'200'), (b'content-type', b'application/grpc')], False))
        if stream.body:
            body, stream.body = stream.body, b''
            self.send_body(stream, body, False)
        if end:
            self.send(headers(stream.id, [(b'grpc-status', b'0')], True))
            for number in [n for n, s in self.streams.items() if s.over and n < stream.id - 200]:
                del self.streams[number]


class GrpcEcho:
    """The origin in HTTP/2 by prior knowledge."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=256)
        self.port, self.errors = self.listener.getsockname()[1], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            sock.settimeout(PATIENCE)
            preface = b''
            while len(preface) < len(PREFACE):
                got = sock.recv(len(PREFACE) - len(preface))
                if not got:
                    return
                preface += got
            conn = Echoing(sock, server=True)
            while not conn.closed:
                conn.step()
        except Malformed as error:
            self.errors.append(str(error))
        except (Ended, OSError):
            pass
        finally:
            sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


def protocol(objects, name):
    """Services among them whose ports say appProtocol `name`."""
    for one in objects:
        if one['kind'] == 'Service':
            for port in one['spec']['ports']:
                port['appProtocol'] = name
    return objects
