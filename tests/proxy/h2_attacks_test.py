#!/usr/bin/env python3
"""What an HTTP/2 client (in the clear and over TLS), or an HTTP/2 upstream, may do to hurt the gateway, each for a moment and with a bound. During every attack a well-behaved neighbour, on HTTP/2
and HTTP/1.1 connections of its own to the same worker, gets all its answers and keeps its connections; the worker's memory stays within a bound; the attacker is
disconnected or answered where it must be. One attack only: H2_ATTACK=NAME. Against something that runs already: H2_GATEWAY=HOST:PORT (it must send a.example to
127.0.0.1:H2_UPSTREAM; only the clients' attacks)."""
import os
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..'))
from h2_attack_tools import Fail, MiB, Neighbour, Origin, World  # noqa: E402
from h2_client_attacks import ATTACKS  # noqa: E402
from h2_upstream_attacks import UPSTREAM, attack_from_upstream  # noqa: E402
from lib.gateway import CLASS, PATIENCE, SLOW, Gateway, ingress, make_certificate, route, service, tls_secret  # noqa: E402
from lib.raw_h2 import Ended, Malformed, Upstream  # noqa: E402

GROWTH = int(64 * MiB * SLOW)  # of a worker by one attack; sanitizers keep what was freed
OF_TIME = {'half-frames', 'slow-preface', 'dripping-bodies'}  # they wait for a deadline, which is the same over TLS
CONFIG = 'timeouts: {requestHeader: 2s, requestBodyIdle: 2s}'


class H2Attacks(unittest.TestCase):
    passed = failed = 0

    def run_one(self, name, neighbour, run):
        """None, or what was wrong."""
        start, done, failures = time.monotonic(), neighbour.done, len(neighbour.failures)
        before = neighbour.peak = neighbour.memory()
        wrong = None
        try:
            run()
        except (Fail, Ended, Malformed, OSError) as error:
            wrong = f'{type(error).__name__}: {error}'
        # The neighbour, which asks all the while, is answered once more from here on.
        here, end = neighbour.done, time.monotonic() + PATIENCE
        while neighbour.done < here + 8 and neighbour.is_alive() and time.monotonic() < end:
            time.sleep(0.005)
        growth = neighbour.peak - before
        if neighbour.failures[failures:] or not neighbour.is_alive():
            wrong = f'the neighbour suffers: {neighbour.failures[failures:][:3]}; {wrong}'
        elif neighbour.done < here + 8:
            wrong = f'the neighbour waits; {wrong}'
        elif growth > GROWTH:
            wrong = f'the worker grew by {growth // MiB} MiB; {wrong}'
        print(f'{"ok  " if not wrong else "FAIL:"} {name}{"" if not wrong else ": " + wrong} ({time.monotonic() - start:.2f} s, {neighbour.done - done} good answers, '
              f'{growth / MiB:+.1f} MiB)', flush=True)
        return wrong

    def run_all(self, runs, world, pids, hosts):
        """runs: name -> what to do. hosts: whom the neighbour asks."""
        wanted, wrong, neighbour = os.environ.get('H2_ATTACK'), [], None
        for name, run in runs.items():
            if wanted and name != wanted:
                continue
            if neighbour is None or not neighbour.is_alive():
                neighbour = Neighbour(world, hosts, pids)
                neighbour.start()
                while neighbour.done < 8 and neighbour.is_alive():
                    time.sleep(0.005)
            if self.run_one(name, neighbour, run):
                wrong.append(name)
            H2Attacks.passed += name not in wrong
        if neighbour:
            neighbour.stopped = True
            neighbour.join(PATIENCE)
        H2Attacks.failed += len(wrong)
        self.assertEqual(wrong, [])

    def run_against(self, gateway, runs, world, hosts):
        workers = gateway.pids('worker')
        self.run_all(runs, world, workers, hosts)
        self.assertEqual(gateway.pids('worker'), workers, 'a worker was replaced')

    def test_of_clients(self):
        given = os.environ.get('H2_GATEWAY')
        with Origin(int(os.environ['H2_UPSTREAM']) if given else 0) as origin:
            runs = lambda world: {name: (lambda f=f: f(world)) for name, f in ATTACKS.items()}
            if given:
                host, _, port = given.rpartition(':')
                world = World(host, int(port), origin)
                self.run_all(runs(world), world, [int(p) for p in os.environ.get('H2_PIDS', '').split()], ['a.example'])
                return
            with Gateway([CLASS] + service('origin', [origin.port]) + [ingress('a', 'a.example', 'origin')], config=CONFIG) as gateway:
                world = World('127.0.0.1', gateway.http, origin)
                self.run_against(gateway, runs(world), world, ['a.example'])

    @unittest.skipIf('H2_GATEWAY' in os.environ, 'in the clear')
    def test_of_clients_over_tls(self):
        """Records are read ahead and written in pieces of their own: what is held back, and what is closed, is another layer's affair. The neighbour speaks TLS, too."""
        with tempfile.TemporaryDirectory(prefix='sluice-test.') as work, Origin() as origin:
            objects = [CLASS, tls_secret('a-cert', *make_certificate(work, 'a.example'))] + service('origin', [origin.port]) + [ingress('a', 'a.example', 'origin', tls='a-cert')]
            with Gateway(objects, https=True, config=CONFIG) as gateway:
                world = World('127.0.0.1', gateway.https, origin, tls='a.example')
                self.run_against(gateway, {f'{name}-over-tls': (lambda f=f: f(world)) for name, f in ATTACKS.items() if name not in OF_TIME}, world, ['a.example'])

    @unittest.skipIf('H2_GATEWAY' in os.environ, 'only clients')
    def test_of_upstreams(self):
        with Origin() as origin, Upstream() as good, Upstream() as hostile:
            slow = route('hostile', ['h2.example'], [{'backendRefs': [{'name': 'hostile', 'port': 80}], 'timeouts': {'request': '3s', 'backendRequest': '2s'}}])
            objects = [CLASS, slow] + service('origin', [origin.port]) + [ingress('a', 'a.example', 'origin')]
            objects += service('good', [good.port], protocol='kubernetes.io/h2c') + [ingress('good', 'g.example', 'good')] + service('hostile', [hostile.port], protocol='kubernetes.io/h2c')
            with Gateway(objects, config=CONFIG) as gateway:
                world = World('127.0.0.1', gateway.http, origin, hostile)
                self.run_against(gateway, {name: (lambda name=name: attack_from_upstream(world, name)) for name in UPSTREAM}, world, ['a.example', 'g.example'])
                self.assertEqual(good.errors, [])


if __name__ == '__main__':
    done = unittest.main(verbosity=2, exit=False).result
    # Each attack is a test of its own; what went wrong outside of them counts too.
    outside = len(done.errors) + (0 if H2Attacks.failed else len(done.failures))
    print(f'{H2Attacks.passed} passed, {H2Attacks.failed + outside} failed', flush=True)
    sys.exit(0 if done.wasSuccessful() and H2Attacks.passed else 1)
