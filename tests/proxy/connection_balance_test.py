#!/usr/bin/env python3
"""connections.balance: even. Whoever accepts a connection, the worker that has the fewest serves it; nothing is lost when workers die, hang, drain, are added or
taken away, or a new binary takes over. Environment: KILLS (20), UPGRADES (5)."""
import contextlib
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib import raw_h2  # noqa: E402
from lib.gateway import CLASS, PATIENCE, SLOW, Gateway, Origin, accepted, ingress, read_answer, service  # noqa: E402
from upgrade_test import PAUSES, Dialer, KeepAlive  # noqa: E402

KILLS, UPGRADES = int(os.environ.get('KILLS', '20')), int(os.environ.get('UPGRADES', '5'))
EVEN = 'connections: {balance: even}\n'
GET = b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n'


def objects(port):
    return [CLASS] + service('web', [port]) + [ingress('web', 'a.example', 'web', annotations={'sluice.dev/ssl-redirect': 'false'})]


class Http1:
    """One HTTP/1.1 connection that stays."""

    def __init__(self, port, tls=False, before=b''):
        self.sock = socket.create_connection(('127.0.0.1', port), timeout=PATIENCE)
        self.sock.sendall(before)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock, server_hostname='a.example')

    def ask(self):
        self.sock.sendall(GET)
        return read_answer(self.sock)[0]

    def close(self):
        self.sock.close()


class Http2:
    def __init__(self, port, tls=False):
        self.connection = raw_h2.Client(port, tls='a.example' if tls else None)

    def ask(self):
        return self.connection.request('/').status

    def close(self):
        self.connection.close()


KINDS = {'HTTP/2': (Http2, False), 'HTTP/2 over TLS': (Http2, True), 'HTTP/1.1': (Http1, False), 'HTTP/1.1 over TLS': (Http1, True)}


def handovers(gw, outcome='done'):
    return int(re.search(rf'^sluice_connection_handovers_total{{outcome="{outcome}"}} (\d+)$', gw.metrics(), re.M)[1])


def held(gw, count, port=None):
    """How many of these connections each worker has, the fewest first."""
    got = []

    def whole():
        got[:] = sorted(accepted(pid, port or gw.http) for pid in gw.pids('worker'))
        return sum(got) == count
    gw.until(whole, what=f'{count} connections are seen')
    return got


def change(gw, config):
    """Every worker runs with it."""
    before = gw.status('control')['generation']
    gw.configure(config)
    gw.until(lambda: gw.status('control')['generation'] > before, what='another state')
    gw.settled()


def quiet(gw):
    gw.until(lambda: '\nsluice_connections_active 0\n' in gw.metrics(), what='no connection is left')


class Even(unittest.TestCase):
    def setUp(self):
        self.open = contextlib.ExitStack()
        self.addCleanup(self.open.close)

    def start(self, workers=4, config=EVEN, https=False, **more):
        origin = self.open.enter_context(Origin(1))
        return self.open.enter_context(Gateway(objects(origin.ports[0]), https=https, workers=workers, config=config, **more))

    def hold(self, make, count):
        """So many connections that stay, one after the other, each of which has asked once."""
        out = []
        for _ in range(count):
            out.append(make())
            self.addCleanup(out[-1].close)
            self.assertEqual(out[-1].ask(), 200)
        return out

    def test_each_worker_has_as_many(self):
        gw = self.start(https=True)
        for name, (make, tls) in KINDS.items():
            for count in (8, 200):
                with self.subTest(kind=name, connections=count):
                    quiet(gw)
                    port = gw.https if tls else gw.http
                    mine = self.hold(lambda make=make, port=port, tls=tls: make(port, tls), count)
                    got = held(gw, count, port)
                    print(f'{count} of {name}: {got}')
                    self.assertEqual(len(got), 4)
                    self.assertLessEqual(got[-1] - got[0], 1)
                    self.assertEqual([c.ask() for c in mine], [200] * count)
                    for c in mine:
                        c.close()
        self.assertGreater(handovers(gw), 0)
        self.assertEqual((handovers(gw, 'kept'), handovers(gw, 'refused')), (0, 0))

    def test_many_at_once(self):
        """All workers accept and choose at the same time."""
        gw = self.start()
        mine = [Http1(gw.http) for _ in range(400)]
        for c in mine:
            self.addCleanup(c.close)
        got = held(gw, 400)
        print(f'400 at once: {got}')
        self.assertLessEqual(got[-1] - got[0], 4)
        self.assertEqual([c.ask() for c in mine], [200] * 400)

    def test_off_nothing_is_handed_over(self):
        gw = self.start(config='')
        self.hold(lambda: Http2(gw.http), 60)
        self.assertEqual([handovers(gw, outcome) for outcome in ('done', 'kept', 'refused')], [0, 0, 0])

    def test_alone_nothing_is_handed_over(self):
        gw = self.start(workers=1)
        self.hold(lambda: Http2(gw.http), 20)
        self.assertEqual([handovers(gw, outcome) for outcome in ('done', 'kept', 'refused')], [0, 0, 0])

    def test_the_option_changes_while_it_runs(self):
        gw = self.start(config='')
        first = self.hold(lambda: Http2(gw.http), 20)
        change(gw, EVEN)
        # Until the fewest have caught up with what the kernel dealt; whoever was served is still.
        second = self.hold(lambda: Http2(gw.http), 80)
        got, done = held(gw, 100), handovers(gw)
        print(f'20 by hash and 80 evenly: {got}')
        self.assertLessEqual(got[-1] - got[0], 1)
        change(gw, '')
        third = self.hold(lambda: Http2(gw.http), 20)
        self.assertEqual(handovers(gw), done)
        self.assertEqual([c.ask() for c in first + second + third], [200] * 120)

    def test_more_and_fewer_workers(self):
        gw = self.start(workers=None, config=EVEN + 'workers: 2\n')
        dialers = self.dial(gw, 2)
        first = self.hold(lambda: Http1(gw.http), 8)
        for workers in (4, 1, 4):
            change(gw, EVEN + f'workers: {workers}\n')
        self.rest(dialers)
        for c in first:
            c.close()
        gw.until(lambda: len(gw.pids('worker')) == 4, 60, what='those that drain are gone')
        quiet(gw)
        self.hold(lambda: Http1(gw.http), 40)
        self.assertEqual(held(gw, 40), [10] * 4)

    def dial(self, gw, count=4):
        dialers = [Dialer(gw.http) for _ in range(count)]
        for d in dialers:
            d.start()
        gw.until(lambda: all(d.answered for d in dialers), what='everybody is served')
        return dialers

    def rest(self, clients):
        """They stop; nothing failed."""
        for c in clients:
            c.go = False
        for c in clients:
            c.join()
        self.assertEqual(sum((c.failed for c in clients), []), [])
        return sum(c.answered for c in clients)

    def test_a_killed_worker_takes_its_own_only(self):
        gw = self.start()
        mine = self.hold(lambda: Http1(gw.http), 40)
        self.assertEqual(held(gw, 40), [10] * 4)
        before = gw.pids('worker')
        os.kill(before[1], signal.SIGKILL)
        gw.until(lambda: len(now := gw.pids('worker')) == 4 and before[1] not in now, what='a successor')
        gw.settled()
        served = []
        for c in mine:
            try:
                served.append(c.ask())
            except ConnectionError:
                pass
        self.assertEqual(served, [200] * 30)
        self.hold(lambda: Http1(gw.http), 10)
        self.assertEqual(held(gw, 40), [10] * 4, 'the successor has caught up')

    def test_killed_again_and_again(self):
        """A request at a time: each kill can take one of each client, whoever accepted it, and refuses none."""
        gw = self.start(workers=3)
        lost, refused, answered, go = [], [], [], threading.Event()

        def dial():
            while not go.is_set():
                try:
                    c = Http1(gw.http)
                except OSError as e:
                    refused.append(repr(e))
                    continue
                try:
                    answered.append(c.ask())
                except OSError as e:
                    lost.append(repr(e))
                finally:
                    c.close()
        dialers = [threading.Thread(target=dial, daemon=True) for _ in range(4)]
        for d in dialers:
            d.start()
        for i in range(KILLS):
            gw.until(lambda: len(gw.pids('worker')) == 3, what='three workers')
            with contextlib.suppress(ProcessLookupError):
                os.kill(gw.pids('worker')[i % 3], signal.SIGKILL)
            had = len(answered)
            gw.until(lambda had=had: len(answered) > had + 20, what='answers')
        go.set()
        for d in dialers:
            d.join()
        print(f'{KILLS} kills: {len(answered)} answered, {len(lost)} lost, {len(refused)} refused, {handovers(gw)} handed over')
        self.assertEqual((refused, set(answered)), ([], {200}))
        self.assertLessEqual(len(lost), KILLS * len(dialers))
        self.assertGreater(handovers(gw), 0)

    def test_what_waits_for_a_worker_that_dies_at_each_start(self):
        """It has to pause before it is started again; others serve meanwhile what was handed to it. It is stopped first, so that it takes nothing itself."""
        gw = self.start(args=('--log-level', 'info'))
        mine = self.hold(lambda: Http1(gw.http), 40)
        four = lambda: set(gw.pids('worker 4'))
        for _ in range(6):
            gw.until(lambda: len(four()) == 1, what='worker 4')
            victim = four().pop()
            gw.until(lambda: gw.status('data')['workers']['ready'] == 4, what='it is ready')
            os.kill(victim, signal.SIGSTOP)
            new = [Http1(gw.http) for _ in range(12)]
            time.sleep(0.1)
            stopped = accepted(victim, gw.http)
            os.kill(victim, signal.SIGSEGV)
            os.kill(victim, signal.SIGCONT)
            gw.until(lambda victim=victim: victim not in four(), what='it is gone')
            failed = 0
            for c in new:
                try:
                    self.assertEqual(c.ask(), 200)
                except ConnectionError:
                    failed += 1
                c.close()
            self.assertLessEqual(failed, stopped, 'what it had taken before it was stopped')
        passed_on = sum('mailbox passed on' in line for line in gw.lines())
        print(f'6 deaths, {passed_on} mailboxes passed on')
        for c in mine:
            c.close()

    def test_a_hanging_worker_keeps_nobody(self):
        """What was handed to it before anybody saw that it hangs is its successor's."""
        gw = self.start()
        stopped = gw.pids('worker')[2]
        os.kill(stopped, signal.SIGSTOP)
        answers = []

        def one():
            c = Http1(gw.http)
            answers.append(c.ask())
            c.close()
        clients = [threading.Thread(target=one, daemon=True) for _ in range(60)]
        for c in clients:
            c.start()
        for c in clients:
            c.join()
        self.assertEqual(answers, [200] * 60)
        self.assertNotIn(stopped, gw.pids('worker'))

    def test_new_binary_loses_nothing(self):
        gw = self.start()
        master, clients = gw.pids('master')[0], [KeepAlive(gw.http, pause) for pause in PAUSES]
        for c in clients:
            c.start()
        dialers = self.dial(gw)
        for _ in range(UPGRADES):
            before, done = gw.pids('worker'), handovers(gw)
            os.kill(master, signal.SIGUSR2)
            gw.replaced('worker', before, 'new workers and only those')
            gw.until(lambda done=done: handovers(gw) > done, what='the new ones hand over')
        done = handovers(gw)
        print(f'{UPGRADES} new binaries: {self.rest(dialers + clients)} answered, {done} handed over')

    def test_end_under_load(self):
        """SIGTERM: connections that stay and new ones, until nobody listens. Refused is the only end."""
        gw = self.start(config=EVEN + f'timeouts: {{drain: {4 * SLOW:.0f}s}}\n')
        clients, dialers = [KeepAlive(gw.http, pause) for pause in PAUSES], [Dialer(gw.http) for _ in range(3)]
        for c in clients + dialers:
            c.start()
        gw.until(lambda: all(c.answered for c in clients + dialers) and handovers(gw) > 0, what='everybody is served')
        os.kill(gw.pids('master')[0], signal.SIGTERM)
        gw.until(lambda: not gw.pids('worker'), what='workers end')
        for c in clients + dialers:
            c.go = False
        for c in clients + dialers:
            c.join()
        failed = [str(f) for c in clients + dialers for f in c.failed]
        refused = [f for f in failed if f == 'refused' or 'ConnectionRefused' in f]
        # The kernel resets what completes its handshake between a listener's last accept and its end: it refuses a moment too late.
        late = [f for f in failed if 'ConnectionReset' in f and f.endswith('on a fresh connection')]
        self.assertLessEqual(len(late), 4, 'one for each worker')
        self.assertEqual([f for f in failed if f not in refused and f not in late], [])

    def test_limits_count_where_a_connection_ends_up(self):
        gw = self.start(config=EVEN + 'limits: {connections: 3}\n')
        quiet(gw)
        mine = self.hold(lambda: Http2(gw.http), 12)
        self.assertEqual(held(gw, 12), [3] * 4)
        one_more = Http1(gw.http)
        self.assertEqual(one_more.ask(), 503)
        one_more.close()
        self.assertEqual([c.ask() for c in mine], [200] * 12)

    def test_proxy_header_is_read_by_who_serves(self):
        gw = self.start(config=EVEN + 'proxyProtocol: [127.0.0.1/32]\naccessLog: {path: /dev/stderr, format: "from %{client} peer %{peer}"}\n')
        for i in range(16):
            c = Http1(gw.http, before=f'PROXY TCP4 192.0.2.{i} 192.0.2.250 4000 80\r\n'.encode())
            self.addCleanup(c.close)
            self.assertEqual(c.ask(), 200)
        self.assertEqual(held(gw, 16), [4] * 4)
        said = lambda i: any(f'from 192.0.2.{i} peer ' in line for line in gw.lines())
        gw.until(lambda: all(map(said, range(16))), what='each client is known')


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
