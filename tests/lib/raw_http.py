"""Raw HTTP/1 on both sides of a gateway: an upstream whose every byte is scripted, and readers that take nothing that RFC 9112 does not allow. Only the
standard library."""
import re
import socket
import threading
import time

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ((?:/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*(?:\?(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*)?)|\*) HTTP/1\.1")
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t \x21-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})")


class Malformed(Exception):
    pass


class Cut(Exception):
    """The peer closed inside a message."""


class Message:
    def __init__(self):
        self.start = ()          # (method, target) or (status,)
        self.fields = []         # (name, value)
        self.body = b""
        self.trailers = []
        self.interim = []        # statuses
        self.chunked = False
        self.length = None
        self.until_close = False

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def closes(self):
        return any(o.strip().lower() == b"close" for v in self.all(b"connection") for o in v.split(b","))


class Reader:
    """Reads strictly well-formed messages from one connection."""

    def __init__(self, sock):
        self.sock, self.data, self.closed = sock, b"", False

    def more(self):
        try:
            got = self.sock.recv(65536)
        except ConnectionResetError:
            got = b""
        self.closed |= not got
        self.data += got
        return bool(got)

    def line(self):
        while b"\n" not in self.data:
            if not self.more():
                if self.data:
                    raise Cut(f"inside a line: {self.data[:100]!r}")
                raise Cut("before a line")
        line, _, self.data = self.data.partition(b"\n")
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            raise Malformed(f"line end: {line[:100]!r}")
        return line[:-1]

    def take(self, size):
        while len(self.data) < size:
            if not self.more():
                raise Cut("inside a body")
        out, self.data = self.data[:size], self.data[size:]
        return out

    def section(self):
        fields = []
        while line := self.line():
            match = FIELD.fullmatch(line)
            if not match:
                raise Malformed(f"field line: {line[:100]!r}")
            fields.append((match.group(1), match.group(2)))
        return fields

    def frame(self, message):
        lengths, codings = message.all(b"content-length"), message.all(b"transfer-encoding")
        if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
            raise Malformed(f"framing: {message.fields!r}")
        if codings:
            if codings[0].lower() != b"chunked":
                raise Malformed(f"coding: {codings!r}")
            message.chunked = True
        if lengths:
            if not re.fullmatch(rb"0|[1-9][0-9]{0,18}", lengths[0]):
                raise Malformed(f"length: {lengths!r}")
            message.length = int(lengths[0])

    def chunks(self, message):
        while True:
            line = self.line()
            if not CHUNK.fullmatch(line):
                raise Malformed(f"chunk size: {line[:100]!r}")
            size = int(line, 16)
            if size == 0:
                message.trailers = self.section()
                return
            message.body += self.take(size)
            if self.take(2) != b"\r\n":
                raise Malformed("chunk end")

    def request(self):
        """None: the peer closed between messages."""
        if not self.data and not self.more():
            return None
        message = Message()
        match = REQUEST_LINE.fullmatch(line := self.line())
        if not match:
            raise Malformed(f"request line: {line[:200]!r}")
        message.start = (match.group(1), match.group(2))
        message.fields = self.section()
        if len(message.all(b"host")) != 1:
            raise Malformed(f"host: {message.fields!r}")
        self.frame(message)
        if message.chunked:
            self.chunks(message)
        elif message.length:
            message.body = self.take(message.length)
        return message

    def answer(self, method=b"GET"):
        interim = []
        while True:
            message = Message()
            match = STATUS_LINE.fullmatch(line := self.line())
            if not match:
                raise Malformed(f"status line: {line[:200]!r}")
            status = int(match.group(1))
            message.start = (status,)
            message.fields = self.section()
            self.frame(message)
            if status >= 200 or status == 101:
                break
            if message.chunked or message.length is not None:
                raise Malformed("1xx with a length")
            interim.append(status)
        message.interim = interim
        if status == 204 and (message.chunked or message.length is not None):
            raise Malformed("204 with a length")
        if method == b"HEAD" or status in (101, 204, 304):
            return message
        if message.chunked:
            self.chunks(message)
        elif message.length is not None:
            message.body = self.take(message.length)
        else:
            message.until_close = True
            while self.more():
                pass
            message.body, self.data = self.data, b""
        return message

    def at_end(self, seconds):
        """True if the peer closes within so long and sends nothing more."""
        if self.data:
            raise Malformed(f"bytes behind the message: {self.data[:100]!r}")
        if self.closed:
            return True
        self.sock.settimeout(seconds)
        try:
            if self.more():
                raise Malformed(f"bytes behind the message: {self.data[:100]!r}")
            return True
        except TimeoutError:
            return False


class RawUpstream:
    """Accepts connections, reads requests strictly, and answers each as scripted: answer = list of byte strings written one after the other (None: a
    plain 200), then closes if eof. What it got is in `requests`: (connection number, Message); what was wrong in `errors`."""

    def __init__(self, host="127.0.0.1", port=0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(128)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.connections, self.open = 0, set()
        self.stopped = False
        self.script(None, False)
        threading.Thread(target=self.accept, daemon=True).start()

    def script(self, answer, eof):
        with self.lock:
            self.answer, self.eof = answer, eof
            self.requests, self.errors = [], []

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
        reader = Reader(sock)
        try:
            while True:
                try:
                    message = reader.request()
                except Malformed as error:
                    with self.lock:
                        self.errors.append(str(error))
                    return
                except (Cut, OSError):
                    return
                if message is None:
                    return
                with self.lock:
                    self.requests.append((number, message))
                    answer, eof = self.answer, self.eof
                try:
                    self.reply(sock, message, answer)
                except OSError:
                    return
                if eof:
                    # Our FIN first: closing with bytes unread would be a reset, which may destroy what was sent.
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass
                    return
        except OSError:
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    @staticmethod
    def reply(sock, message, answer):
        if answer is None:
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"" if message.start[0] == b"HEAD" else b"ok"))
            return
        for i, piece in enumerate(answer):
            if i:
                time.sleep(0.005)
            sock.sendall(piece)

    def stop(self):
        self.listener.close()
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
