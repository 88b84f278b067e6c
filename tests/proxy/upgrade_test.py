#!/usr/bin/env python3
"""A new binary takes over (SIGUSR2) and the data plane drains (SIGTERM) under load: nobody is refused, no answer is lost. Environment: UPGRADES (5)."""
import os
import signal
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, SLOW, Gateway, Origin, ingress, read_answer, service  # noqa: E402

UPGRADES = int(os.environ.get('UPGRADES', '5'))


def objects(port):
    return [CLASS] + service('web', [port]) + [ingress('web', 'a.example', 'web')]


# What a draining worker grants a client between two requests: so long until the connection ends, and so long again until what still comes is answered by a reset. A
# client that the machine held up for longer has lost its claim. A little less than the second that it is.
GRANTED = 0.9


class Dialer(threading.Thread):
    """A connection for each request, without a retry."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.failed, self.answered, self.go = port, [], 0, True

    def run(self):
        while self.go:
            try:
                with socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE) as s:
                    s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
                    status, _, _ = read_answer(s)
                if status == 200:
                    self.answered += 1
                else:
                    self.failed.append(status)
            except OSError as e:
                self.failed.append(f'{e!r} on a fresh connection')


class KeepAlive(threading.Thread):
    """Requests on one connection with pauses between them, as RFC 9112 9.3.1 and 9.6 allow: a new connection after `Connection: close`; a connection that
    ended cleanly before the answer's first byte, and had carried a request before, is replaced and the request sent once more. Everything else is a failure: a
    reset, a cut answer, an end on a fresh connection, another status; unless the next request came later than any worker waits. Nobody listening any more ends it (`gone`)."""

    def __init__(self, port, pause):
        super().__init__(daemon=True)
        self.port, self.pause, self.failed, self.answered, self.repeated, self.go, self.gone = port, pause, [], 0, 0, True, False

    def run(self):
        sock, used, last, sent = None, False, 0.0, 0.0  # last: when the last request began
        try:
            while self.go:
                if sock is None:
                    try:
                        sock, used = socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE), False
                    except ConnectionResetError as e:
                        self.failed.append(f'{e!r} on a fresh connection')
                        continue
                began = sent = time.monotonic()
                try:
                    sock.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
                    sent = time.monotonic()
                    if not sock.recv(1, socket.MSG_PEEK) and used:
                        self.repeated += 1
                        sock.close()
                        sock = None
                        continue
                    status, headers, _ = read_answer(sock)
                except OSError as e:
                    if not used or sent - last < 2 * GRANTED:
                        self.failed.append(f'{e!r} on a {"used" if used else "fresh"} connection')
                    sock.close()
                    sock = None
                    continue
                if status != 200:
                    self.failed.append(status)
                self.answered, used, last = self.answered + 1, True, began
                if headers.get('connection') == 'close':
                    sock.close()
                    sock = None
                time.sleep(self.pause)
        except ConnectionRefusedError:
            self.gone = True
            if self.go:
                self.failed.append('refused')
        finally:
            if sock:
                sock.close()


PAUSES = [0, 0, 0.001, 0.003, 0.01, 0.05, 0.2, 0.9, 1.0, 1.1]


class Upgrade(unittest.TestCase):
    def test_connections_that_stay_lose_nothing(self):
        """New binaries under clients that keep their connections, some of which pause as long as a draining worker waits."""
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            clients = [KeepAlive(gw.http, pause) for pause in PAUSES]
            for c in clients:
                c.start()
            gw.until(lambda: all(c.answered for c in clients), what='every client is served')
            for _ in range(UPGRADES):
                before = gw.pids('worker')
                os.kill(gw.pids('master')[0], signal.SIGUSR2)
                gw.replaced('worker', before, 'new workers and only those')
            for c in clients:
                c.go = False
            for c in clients:
                c.join()
            print(f'{UPGRADES} new binaries: {sum(c.answered for c in clients)} answered, {sum(c.repeated for c in clients)} sent again')
            self.assertEqual(sum((c.failed for c in clients), []), [])

    def test_end_under_load(self):
        """SIGTERM: connections that stay and new ones, until nobody listens. Refused is the only end."""
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2, config=f'timeouts: {{drain: {4 * SLOW:.0f}s}}\n') as gw:
            clients, dialers = [KeepAlive(gw.http, pause) for pause in PAUSES], [Dialer(gw.http) for _ in range(3)]
            for c in clients + dialers:
                c.start()
            gw.until(lambda: all(c.answered for c in clients + dialers), what='everybody is served')
            os.kill(gw.pids('master')[0], signal.SIGTERM)
            gw.until(lambda: not gw.pids('worker'), what='workers end')
            for c in clients + dialers:
                c.go = False
            for c in clients + dialers:
                c.join()
            refused = [f for c in clients + dialers for f in c.failed if f == 'refused' or 'ConnectionRefused' in str(f)]
            print(f'end: {sum(c.answered for c in clients + dialers)} answered, {sum(c.repeated for c in clients)} sent again, {len(refused)} refused at last')
            # The kernel resets what completes its handshake between a listener's last accept and its end: it refuses a moment too late.
            late = [f for c in clients + dialers for f in c.failed if 'ConnectionReset' in str(f) and str(f).endswith('on a fresh connection')]
            self.assertLessEqual(len(late), 2, 'one for each worker')
            self.assertEqual([f for c in clients + dialers for f in c.failed if f not in refused and f not in late], [])

    def test_requests_into_closing_connections(self):
        """Whenever an idle connection's next request comes, it is answered, or the connection ended cleanly before it: never a reset, unless it came later than any
        worker waits."""
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            socks = []
            for _ in range(60):
                s = socket.create_connection(('127.0.0.1', gw.http), timeout=PATIENCE)
                s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
                self.assertEqual(read_answer(s)[0], 200)
                socks.append(s)
            begin, answered, ended, late = time.monotonic(), [], 0, 0
            os.kill(gw.pids('master')[0], signal.SIGTERM)
            for i, s in enumerate(socks):
                time.sleep(max(0.0, begin + i * 0.03 - time.monotonic()))
                try:
                    s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
                    whole = s.recv(1, socket.MSG_PEEK)
                except ConnectionError:
                    self.assertGreater(time.monotonic() - begin, 2 * GRANTED, 'reset')
                    late += 1
                    continue
                if not whole:
                    ended += 1
                    continue
                self.assertEqual(read_answer(s)[0], 200)
                answered.append(s)
            for s in answered:  # with Connection: close, or for its silence: the worker did not know of its end yet
                self.assertEqual(s.recv(1), b'')
            for s in socks:
                s.close()
            print(f'into closing connections: {len(answered)} answered, {ended} ended before, {late} came too late')
            self.assertTrue(answered)

    def test_new_binary_loses_nothing(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            master, metrics_before = gw.pids('master')[0], gw.metrics()
            self.assertIn('sluice_generation', metrics_before)
            dialers = [Dialer(gw.http) for _ in range(4)]
            for d in dialers:
                d.start()
            for _ in range(UPGRADES):
                before = gw.pids('worker')
                os.kill(master, signal.SIGUSR2)
                gw.replaced('worker', before, 'new workers and only those')
                gw.until(lambda: gw.pids('master') == [master], what='the same process')
            for d in dialers:
                d.go = False
            for d in dialers:
                d.join()
            failed, answered = sum((d.failed for d in dialers), []), sum(d.answered for d in dialers)
            print(f'{UPGRADES} new binaries: {answered} answered, {len(failed)} failed')
            self.assertEqual(failed, [])
            # Counters do not go back, whoever counted.
            gw.until(lambda: f'code_class="2xx"}} {answered}' in gw.metrics(), what=f'{answered} requests in the metrics')
            gw.until(lambda: gw.get('/readyz', port=gw.admin)[0] == 200, what='ready')
            gw.write('more.json', [ingress('more', 'b.example', 'web')])
            gw.until(lambda: gw.get('/', host='b.example')[0] == 200, what='a change after the upgrade')

    def test_drain_finishes_what_runs(self):
        # One worker: that it answers another client with "close" says that it has heard of the end. Readiness is off a moment earlier.
        def another_is_told(gw):
            with socket.create_connection(('127.0.0.1', gw.http), timeout=PATIENCE) as other:
                other.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
                return read_answer(other)[1].get('connection') == 'close'

        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=1) as gw:
            with socket.create_connection(('127.0.0.1', gw.http), timeout=PATIENCE) as s:
                s.sendall(b'GET / HTTP/1.1\r\nHost: a.exa')
                gw.until(lambda: '\nsluice_connections_active 1\n' in gw.metrics(), what='a worker has the connection')
                os.kill(gw.pids('master')[0], signal.SIGTERM)
                gw.until(lambda: gw.get('/readyz', port=gw.admin)[0] == 503, what='readiness is off')
                gw.until(lambda: another_is_told(gw), what='the worker drains')
                s.sendall(b'mple\r\n\r\n')
                status, headers, _ = read_answer(s)
                self.assertEqual(status, 200)
                self.assertEqual(headers.get('connection'), 'close')


if __name__ == '__main__':
    unittest.main(verbosity=2)
