"""One epoll loop for all connections of a run: buffered writes, timers, nothing else."""
import errno
import heapq
import itertools
import select
import socket
import struct
import time


class Loop:
    def __init__(self):
        self.poll, self.handlers, self.timers, self.count = select.epoll(), {}, [], itertools.count()

    def later(self, seconds, call):
        heapq.heappush(self.timers, (time.monotonic() + seconds, next(self.count), call))

    def close(self):
        for handler in list(self.handlers.values()):
            handler.close()
        self.poll.close()

    def run(self, done):
        while not done():
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                heapq.heappop(self.timers)[2]()
            wait = min(0.2, max(0.0, self.timers[0][0] - time.monotonic())) if self.timers else 0.2
            for fd, mask in self.poll.poll(wait):
                if handler := self.handlers.get(fd):
                    handler.event(mask)


class Listener:
    """make(sock): the object of each connection."""

    def __init__(self, loop, make):
        self.loop, self.make = loop, make
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(('127.0.0.1', 0))
        self.sock.listen(512)
        self.sock.setblocking(False)
        self.port = self.sock.getsockname()[1]
        loop.handlers[self.sock.fileno()] = self
        loop.poll.register(self.sock.fileno(), select.EPOLLIN)

    def event(self, _):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.make(sock)

    def close(self):
        self.loop.handlers.pop(self.sock.fileno(), None)
        self.sock.close()


class Connection:
    """Calls came(bytes), and once ended(reset): the peer's end; the socket is open until close()."""

    def __init__(self, loop, sock):
        self.loop, self.sock, self.out, self.over, self.shutting = loop, sock, bytearray(), False, False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = sock.fileno()
        loop.handlers[self.fd] = self
        self.mask = select.EPOLLIN
        loop.poll.register(self.fd, self.mask)

    def interest(self, mask):
        if mask != self.mask and self.fd in self.loop.handlers:
            self.mask = mask
            self.loop.poll.modify(self.fd, mask)

    def event(self, mask):
        if mask & select.EPOLLOUT and self.out:
            self.flush()
        if self.fd is not None and mask & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
            try:
                data = self.sock.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError as error:
                return self.lost(error.errno == errno.ECONNRESET)
            if data:
                self.came(data)
            else:
                self.lost(False)

    def lost(self, reset):
        if self.over:
            return
        self.over = True
        self.interest(0)
        self.ended(reset)

    def write(self, data):
        if self.fd is None:
            return
        self.out += data
        self.flush()

    def flush(self):
        try:
            sent = self.sock.send(self.out)
            del self.out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self.out.clear()  # what it said last may still be read
        if not self.out and self.shutting:
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
        if not self.over:
            self.interest(select.EPOLLIN | (select.EPOLLOUT if self.out else 0))

    def shut(self):
        """Our side, behind what is written."""
        self.shutting = True
        self.flush()

    def reset(self):
        if self.fd is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            self.close()

    def close(self):
        if self.fd is None:
            return
        self.loop.handlers.pop(self.fd, None)
        self.fd, self.over = None, True
        self.sock.close()

    def came(self, data):
        raise NotImplementedError

    def ended(self, reset):
        raise NotImplementedError
