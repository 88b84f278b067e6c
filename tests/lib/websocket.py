"""WebSocket (RFC 6455) for tests: a client, and a server that echoes. What comes is read strictly. Only the standard library."""
import base64
import hashlib
import os
import socket
import struct
import threading

from lib.gateway import PATIENCE

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GUID = b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'


class Malformed(Exception):
    pass


class Cut(Exception):
    """The peer is gone without a word."""


def accept_of(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def frame(opcode, payload=b'', mask=True, final=True):
    size = len(payload)
    head = bytes([(0x80 if final else 0) | opcode])
    bit = 0x80 if mask else 0
    head += bytes([bit | size]) if size < 126 else bytes([bit | 126]) + struct.pack('>H', size) if size < 65536 else bytes([bit | 127]) + struct.pack('>Q', size)
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + xor(payload, key)


def xor(payload, key):
    mask = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, 'big') ^ int.from_bytes(mask, 'big')).to_bytes(len(payload), 'big')


class Frames:
    """Reads frames out of read(size) -> bytes, empty at the end. masked: they come from a client."""

    def __init__(self, read, masked, data=b''):
        self.read, self.masked, self.data = read, masked, data
        self.kind, self.pieces = None, []  # of a message whose end did not come yet

    def take(self, size):
        pieces, have = [self.data], len(self.data)
        while have < size:
            got = self.read(max(65536, size - have))
            if not got:
                raise Cut(f'{have} of {size} bytes')
            pieces.append(got)
            have += len(got)
        data = b''.join(pieces)
        self.data = data[size:]
        return data[:size]

    def frame(self):
        """(final, opcode, payload)"""
        first, second = self.take(2)
        if first & 0x70 or first & 15 not in (0, 1, 2, 8, 9, 10) or bool(second & 0x80) != self.masked:
            raise Malformed(f'frame {first:02x} {second:02x}')
        size = second & 127
        if size >= 126:
            size = struct.unpack('>H' if size == 126 else '>Q', self.take(2 if size == 126 else 8))[0]
        key = self.take(4) if self.masked else None
        payload = self.take(size)
        return bool(first & 0x80), first & 15, xor(payload, key) if key else payload

    def message(self):
        """(opcode, payload); fragments are put together, control frames between them come first."""
        while True:
            final, opcode, piece = self.frame()
            if opcode >= 8:
                return opcode, piece
            if (opcode == CONTINUATION) != (self.kind is not None):
                raise Malformed('fragments')
            self.kind = opcode if self.kind is None else self.kind
            self.pieces.append(piece)
            if final:
                out = self.kind, b''.join(self.pieces)
                self.kind, self.pieces = None, []
                return out

    def ended(self):
        """Whether nothing more comes, and nothing came."""
        return not self.data and not self.read(1)


class WebSocket:
    """A client's connection. handshake: with what the server answers, (status, fields in lower case)."""

    def __init__(self, sock, host, path='/', more=(), key=None):
        self.sock = sock
        self.key = key or base64.b64encode(os.urandom(16))
        head = [f'GET {path} HTTP/1.1', f'Host: {host}', 'Upgrade: websocket', 'Connection: Upgrade', f'Sec-WebSocket-Key: {self.key.decode()}', 'Sec-WebSocket-Version: 13']
        sock.sendall('\r\n'.join(head + [f'{n}: {v}' for n, v in more] + ['', '']).encode())
        self.status, self.fields, rest = read_head(sock)
        self.frames = Frames(sock.recv, False, rest)

    @property
    def good(self):
        return self.status == 101 and self.fields.get('sec-websocket-accept') == accept_of(self.key).decode() and self.fields.get('upgrade', '').lower() == 'websocket'

    def send(self, opcode, payload=b'', final=True):
        self.sock.sendall(frame(opcode, payload, True, final))

    def echo(self, payload, opcode=BINARY):
        """Whether it comes back."""
        if len(payload) < 100000:
            self.send(opcode, payload)
            return self.frames.message() == (opcode, payload)
        # Nobody may have to buffer it all. (Not with TLS: its state belongs to one thread.)
        sender = threading.Thread(target=self.send, args=(opcode, payload), daemon=True)
        sender.start()
        got = self.frames.message()
        sender.join(PATIENCE)
        return got == (opcode, payload)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def read_head(sock):
    data = b''
    while b'\r\n\r\n' not in data:
        got = sock.recv(65536)
        if not got:
            raise Cut(f'inside the head: {data[:200]!r}')
        data += got
    head, _, rest = data.partition(b'\r\n\r\n')
    lines = head.decode('latin-1').split('\r\n')
    return int(lines[0].split()[1]), {n.lower(): v.strip() for n, _, v in (line.partition(':') for line in lines[1:])}, rest


class EchoServer:
    """Sends back what it gets, answers PING and CLOSE. Paths: /refuse answers 403; /wrong accepts with a wrong key; /greet says "hello" with its handshake; /bye sends CLOSE and
    ends at once; /cut ends without a word after the first message; /drain answers "N bytes" when the client's side has ended. Subprotocol: the last one offered.
    What it was asked with is in `heads`; `open`: connections under way. patience: seconds of silence after which it ends a connection."""

    def __init__(self, patience=PATIENCE * 4):
        self.patience = patience
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.heads, self.open, self.errors = [], set(), []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock:
            try:
                sock.settimeout(self.patience)
                self.open.add(sock)
                self.talk(sock)
            except (Malformed, ValueError) as error:
                self.errors.append(str(error))
            except (Cut, OSError):
                pass
            finally:
                self.open.discard(sock)

    def talk(self, sock):
        line, fields, rest = self.read_request(sock)
        path = line.split(' ')[1]
        self.heads.append((line, fields))
        if fields.get('upgrade', '').lower() != 'websocket' or path == '/refuse':
            sock.sendall(b'HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno')
            return
        accept = accept_of(b'wrong' if path == '/wrong' else fields['sec-websocket-key'].encode()).decode()
        offered = fields.get('sec-websocket-protocol', '').split(',')[-1].strip()
        answer = f'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n' + (f'Sec-WebSocket-Protocol: {offered}\r\n' if offered else '')
        sock.sendall(answer.encode() + b'\r\n' + (frame(TEXT, b'hello', False) if path == '/greet' else b''))
        frames, total = Frames(sock.recv, True, rest), 0
        if path == '/bye':
            sock.sendall(frame(CLOSE, struct.pack('>H', 1001), False))
            return
        if path == '/drain':
            total = len(frames.data)
            while got := sock.recv(65536):
                total += len(got)
            sock.sendall(frame(TEXT, b'%d bytes' % total, False))
            return
        while True:
            opcode, payload = frames.message()
            if path == '/cut':
                return
            if opcode == CLOSE:
                sock.sendall(frame(CLOSE, payload, False))
                return
            sock.sendall(frame(PONG if opcode == PING else opcode, payload, False))

    @staticmethod
    def read_request(sock):
        data = b''
        while b'\r\n\r\n' not in data:
            got = sock.recv(65536)
            if not got:
                raise Cut('no request')
            data += got
        head, _, rest = data.partition(b'\r\n\r\n')
        lines = head.decode('latin-1').split('\r\n')
        return lines[0], {n.lower(): v.strip() for n, _, v in (line.partition(':') for line in lines[1:])}, rest

    def stop(self):
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
