"""What the attacks of h2_attacks_test.py are made with: a good upstream, a well-behaved neighbour, an attacker whose frames are its own affair."""
import struct
import threading
import time

from lib import hpack, raw_h2, raw_http
from lib.gateway import PATIENCE, slurp
from lib.raw_h2 import HEADERS, PING, SETTINGS, Client, Ended, Malformed, frame, request_fields

MiB = 1 << 20
BIG = 1 * MiB
GET = hpack.block(request_fields('/ok'))
POST = hpack.block(request_fields('/ok', method='POST'))
HANG = hpack.block(request_fields('/hang'))
LARGE = hpack.block(request_fields('/big'))


class Fail(Exception):
    pass


def need(good, text):
    if not good:
        raise Fail(text)


class Origin(raw_http.RawUpstream):
    """/ok: "ok"; /big: 1 MiB; /hang: never an answer. `asked`: requests by target."""

    def __init__(self, port=0):
        self.asked, self.over = {}, threading.Event()
        super().__init__(port=port)

    def reply(self, sock, message, _):
        target = message.start[1].decode('latin-1')
        with self.lock:
            self.asked[target] = self.asked.get(target, 0) + 1
            self.requests.clear()
        if target == '/big':
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % BIG + bytes(BIG))
        elif target == '/hang':
            sock.settimeout(PATIENCE)
            sock.recv(1)  # the gateway gives up
            raise OSError
        else:
            super().reply(sock, message, None)

    def count(self, target):
        with self.lock:
            return self.asked.get(target, 0)


class Neighbour(threading.Thread):
    """Asks all the time, one request after the other; every failure is told. Looks at the worker's memory between them."""

    def __init__(self, world, hosts, pids):
        super().__init__(daemon=True)
        self.world, self.hosts, self.pids = world, hosts, pids
        self.done, self.failures, self.peak, self.stopped = 0, [], 0, False

    def memory(self):
        try:
            return sum(int(slurp(f'/proc/{pid}/statm').split()[1]) * 4096 for pid in self.pids)
        except OSError:
            self.failures.append('a worker is gone')
            return 0

    def run(self):
        try:
            world = self.world
            with Client(world.port, world.host, world.tls) as h2, raw_h2.connect(world.port, world.host, world.tls, alpn='http/1.1') as h1:
                reader = raw_http.Reader(h1)
                while not self.stopped:
                    for host in self.hosts:
                        answer = h2.request('/ok', host)
                        self.judge(f'HTTP/2 {host}', answer.status, answer.body, answer.ended)
                        answer = h2.request('/ok', host, method='POST', body=b'x' * 1000)
                        self.judge(f'HTTP/2 POST {host}', answer.status, answer.body, answer.ended)
                        for old in list(h2.streams)[:-100]:  # of the last ones something may still come
                            del h2.streams[old]
                    h1.sendall(b'GET /ok HTTP/1.1\r\nHost: a.example\r\n\r\n')
                    answer = reader.answer()
                    self.judge('HTTP/1.1', answer.start[0], answer.body, True)
                    self.peak = max(self.peak, self.memory())
                    time.sleep(0.005)
        except (OSError, Ended, Malformed, raw_http.Cut, raw_http.Malformed) as error:
            self.failures.append(f'{type(error).__name__}: {error}')

    def judge(self, what, status, body, ended):
        if (status, bytes(body), ended) != (200, b'ok', True):
            self.failures.append(f'{what}: {status} {bytes(body)[:100]!r}, ended {ended}')
        self.done += 1


class Attacker(raw_h2.Connection):
    """Reads only what it has to: whether it is answered, and whether it is told to go."""

    def __init__(self, world, more=(), start=True, receive_buffer=None):
        super().__init__(raw_h2.connect(world.port, world.host, world.tls, receive_buffer), start=start, more=more)
        self.answered, self.resets, self.id = 0, {}, 1

    def step(self, seconds=PATIENCE):
        try:
            return super().step(seconds)
        except Malformed:  # it says goodbye in HTTP/1.1
            self.closed = True
            return None

    def reply(self, what):
        """To what we are told; gone or not."""
        try:
            self.send(what)
        except Ended:
            pass

    def handle(self, f):
        self.seen[f.type] += 1
        if f.type == HEADERS:
            self.answered += 1
        elif f.type == raw_h2.RST_STREAM:
            code = struct.unpack('>I', f.payload)[0]
            self.resets[code] = self.resets.get(code, 0) + 1
        elif f.type == raw_h2.GOAWAY:
            last, code = struct.unpack_from('>II', f.payload)
            self.goaway = (last, code, f.payload[8:])
        elif f.type == SETTINGS and not f.flags & raw_h2.ACK:
            self.settings_seen += 1
            self.reply(frame(SETTINGS, raw_h2.ACK))
        elif f.type == PING and f.flags & raw_h2.ACK:
            self.pongs.append(f.payload)

    def stream(self, _=None):
        """Another stream's number."""
        self.id += 2
        return self.id - 2

    def gone(self):
        return self.closed or (self.goaway is not None and self.goaway[1] != 0)

    def flood(self, make, count, batch=200, read=True):
        """Sends make() so often, in batches, and reads between them; true as soon as we are told to go."""
        try:
            for at in range(0, count, batch):
                self.send(*(make() for _ in range(min(batch, count - at))))
                while read and self.step(0.0005) is not None:
                    pass
                if self.gone():
                    return True
        except Ended:
            return True
        return self.gone()

    def push(self, payload, seconds=5.0):
        """Sends as much of it as is taken in that time, and reads nothing."""
        self.sock.settimeout(seconds)
        try:
            self.sock.sendall(payload)
        except OSError:
            pass

    def must_end(self, why='it is not disconnected'):
        need(self.gone() or self.ends(), f'{why}: {self.answered} answers, resets {self.resets}, GOAWAY {self.goaway}')


class World:
    """What the attacks are run against."""

    def __init__(self, host, port, origin, hostile=None, tls=None):
        """tls: the name to ask for."""
        self.host, self.port, self.origin, self.hostile, self.tls = host, port, origin, hostile, tls
