#!/usr/bin/env python3
"""5,000 clients that hold a connection each and say next to nothing: silent ones, heads and HTTP/2 header blocks that drip, TLS handshakes that drip, bodies that drip, idle HTTP/2
connections. Good requests meanwhile are all answered (HTTP/1.1 at a constant rate, HTTP/2, TLS); the gateway ends each slow one itself, by the deadline it broke."""
import collections
import os
import resource
import selectors
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import SHORT, Drill, descriptors, quantile, resident_kib, size  # noqa: E402
from drills.protocols import KeptH2  # noqa: E402
from lib import hpack  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, Load, Origin, ingress, make_certificate, service, tls_secret  # noqa: E402
from lib.raw_h2 import PREFACE, frame, settings  # noqa: E402

CLIENTS = size(5000, 600)
HEADER = size(10, 2)  # seconds: timeouts.requestHeader and tlsHandshake; the long form leaves them as they are
RATE = size(1000, 200)
HEADERS, NOT_ENDED = 1, 0


def hello():
    """A TLS record of a ClientHello that never comes whole."""
    return struct.pack('>BHH', 22, 0x0301, 512) + b'\x01\0\x01\xfc\x03\x03' + bytes(506)


def drips():
    """Kind -> (by TLS port?, what is said at once, what follows by the byte; b'' = nothing)."""
    block = hpack.block([(b':method', b'GET'), (b':scheme', b'http'), (b':authority', b'a.example'), (b':path', b'/'), (b'x-long', b'x' * 200)])
    return {
        'silent': (False, b'', b''),
        'head': (False, b'GET / HTTP/1.1\r\nHost: a.example\r\nX-Drip: ', b'x' * 4096),
        'body': (False, b'POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 100000\r\n\r\n', b'x' * 4096),
        'handshake': (True, hello()[:40], hello()[40:]),
        'h2-idle': (False, PREFACE + settings(), b''),
        'h2-head': (False, PREFACE + settings() + frame(HEADERS, NOT_ENDED, 1, block)[:20], frame(HEADERS, NOT_ENDED, 1, block)[20:]),
    }


class Slow:
    """One kind's connections: what each has left to say, and after how many seconds it was ended by the gateway."""

    def __init__(self, kind, tls, first, rest):
        self.kind, self.tls, self.first, self.rest = kind, tls, first, rest
        self.open, self.ended_after = {}, []

    def dial(self, gw, selector):
        s = socket.create_connection(('127.0.0.1', gw.https if self.tls else gw.http), timeout=PATIENCE)
        s.sendall(self.first)
        s.setblocking(False)
        self.open[s] = time.monotonic()
        selector.register(s, selectors.EVENT_READ, self)

    def drip(self, turn):
        if self.rest:
            for s in list(self.open):
                try:
                    s.send(self.rest[turn:turn + 1])
                except OSError:
                    pass  # ended: its read says so

    def heard(self, s, selector):
        try:
            if s.recv(65536):
                return  # 408, SETTINGS, GOAWAY
        except BlockingIOError:
            return
        except OSError:
            pass
        selector.unregister(s)
        self.ended_after.append(time.monotonic() - self.open.pop(s))
        s.close()


def main():
    kinds = drips()
    drill = Drill('slow-clients', f'{CLIENTS} connections of {len(kinds)} slow kinds: good requests 0 failed, each slow one ended by the gateway')
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    config = f'limits: {{minBodyRate: 1Ki}}\ntimeouts: {{requestHeader: {HEADER}s, tlsHandshake: {HEADER}s}}\n'
    with Origin(1) as origin, Gateway([CLASS], https=True, config=config) as gw:
        gw.write('all.json', [tls_secret('a-tls', *make_certificate(gw.work, 'a.example'))] + service('web', origin.ports) + [
            ingress('web', 'a.example', 'web', tls='a-tls', annotations={'sluice.dev/ssl-redirect': 'false'})])
        gw.until(lambda: gw.get()[0] == 200, what='the first state')
        worker = gw.pids('worker')
        good = [KeptH2(gw.http, 'a.example', 0.05), KeptH2(gw.https, 'a.example', 0.05, True)]
        load = Load('rate', gw.http, 'a.example', '/6', RATE, 4 * PATIENCE + 60, 32)
        for client in good:
            client.start()
        gw.until(lambda: all(client.answered or client.failed for client in good), what='everybody is served')
        before = resident_kib(worker[0])['Anon']
        selector, slow = selectors.DefaultSelector(), [Slow(kind, *how) for kind, how in kinds.items()]
        for i in range(CLIENTS):
            slow[i % len(slow)].dial(gw, selector)
        held, most, turn, due, start = descriptors(worker[0]), 0, 0, time.monotonic(), time.monotonic()
        while any(kind.open for kind in slow) and time.monotonic() < start + 2 * HEADER + 4 * PATIENCE:
            for key, _ in selector.select(max(0.0, due - time.monotonic())):
                key.data.heard(key.fileobj, selector)
            if time.monotonic() >= due:
                for kind in slow:
                    kind.drip(turn)
                turn, due = turn + 1, due + 1
                most = max(most, resident_kib(worker[0])['Anon'])
        for client in good:
            client.go = False
        for client in good:
            client.join()
        result = load.finish()
        failed = [f for client in good for f in client.failed]
        drill.need(result['failed'] == 0 and not failed, f'good requests: {result}, {failed[:3]}')
        drill.need(held >= CLIENTS, f'{held} descriptors in the worker: the connections were not held')
        drill.need(gw.pids('worker') == worker, 'the worker was replaced')
        left = collections.Counter({kind.kind: len(kind.open) for kind in slow if kind.open})
        drill.need(not left, f'still open: {dict(left)}')
        # The deadline counts from the first byte; a second for the timer and for who reads here.
        late = {kind.kind: round(max(kind.ended_after), 1) for kind in slow if kind.kind != 'body' and kind.ended_after and max(kind.ended_after) > HEADER + 3}
        drill.need(SHORT or not late, f'ended late: {late}')
        drill.done(connections=CLIENTS, good=result['requests'], good_h2=sum(client.answered for client in good), failed=result['failed'] + len(failed), p50_ms=round(result['p50'] / 1000, 2),
                   p99_ms=round(result['p99'] / 1000, 2), ended_after_s={kind.kind: [round(quantile(kind.ended_after, q), 1) for q in (0, 0.5, 1)] for kind in slow if kind.ended_after},
                   worker_grew_KiB=most - before)


if __name__ == '__main__':
    main()
