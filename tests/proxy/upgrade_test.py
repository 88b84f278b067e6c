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
from lib.gateway import CLASS, Gateway, Origin, ingress, read_answer, service  # noqa: E402

UPGRADES = int(os.environ.get('UPGRADES', '5'))


def objects(port):
    return [CLASS] + service('web', [port]) + [ingress('web', 'a.example', 'web')]


class Dialer(threading.Thread):
    """A connection for each request, without a retry."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.failed, self.answered, self.go = port, [], 0, True

    def run(self):
        while self.go:
            try:
                with socket.create_connection(('127.0.0.1', self.port), timeout=20) as s:
                    s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
                    status, _, _ = read_answer(s)
                if status == 200:
                    self.answered += 1
                else:
                    self.failed.append(status)
            except OSError as e:
                self.failed.append(repr(e))


class Upgrade(unittest.TestCase):
    def test_new_binary_loses_nothing(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            master, metrics_before = gw.pids('master')[0], gw.metrics()
            self.assertIn('sluice_generation', metrics_before)
            dialers = [Dialer(gw.http) for _ in range(4)]
            for d in dialers:
                d.start()
            for _ in range(UPGRADES):
                before = set(gw.pids('worker'))
                os.kill(master, signal.SIGUSR2)
                gw.until(lambda: len(gw.pids('worker')) == 2 and not before & set(gw.pids('worker')), 20, 'new workers and only those')
                self.assertEqual(gw.pids('master'), [master], 'the same process')
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
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            with socket.create_connection(('127.0.0.1', gw.http), timeout=20) as s:
                s.sendall(b'GET / HTTP/1.1\r\nHost: a.exa')
                time.sleep(0.2)
                os.kill(gw.pids('master')[0], signal.SIGTERM)
                gw.until(lambda: gw.get('/readyz', port=gw.admin)[0] == 503, what='readiness is off')
                s.sendall(b'mple\r\n\r\n')
                status, headers, _ = read_answer(s)
                self.assertEqual(status, 200)
                self.assertEqual(headers.get('connection'), 'close')


if __name__ == '__main__':
    unittest.main(verbosity=2)
