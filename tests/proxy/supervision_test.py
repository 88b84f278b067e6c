#!/usr/bin/env python3
"""Processes die, hang and are replaced; nobody is refused. Environment: KILLS (100)."""
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import BIN, CLASS, PATIENCE, Gateway, Load, Origin, ingress, read_answer, service, slurp  # noqa: E402

KILLS = int(os.environ.get('KILLS', '100'))


def objects(port):
    return [CLASS] + service('web', [port]) + [ingress('web', 'a.example', 'web')]


class Dialer(threading.Thread):
    """Connects, asks once, closes, again and again. Counts refused connections apart from answers lost on a killed worker."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.refused, self.lost, self.answered, self.go = port, 0, 0, 0, True

    def run(self):
        while self.go:
            try:
                s = socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE)
            except OSError:
                self.refused += 1
                continue
            try:
                s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
                status, _, _ = read_answer(s)
                self.answered += status == 200
                self.lost += status != 200
            except OSError:
                self.lost += 1
            finally:
                s.close()


class Supervision(unittest.TestCase):
    def test_kill_a_worker_many_times(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            dialers = [Dialer(gw.http) for _ in range(4)]
            for d in dialers:
                d.start()
            killed = 0
            while killed < KILLS:
                workers = gw.pids('worker')
                if workers:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(workers[killed % len(workers)], signal.SIGKILL)
                        killed += 1
                time.sleep(0.05)
            gw.until(lambda: len(gw.pids('worker')) == 2, what='two workers again')
            # So few that they say only: the dialers were at it all the time.
            gw.until(lambda: sum(d.answered for d in dialers) > 100, what='a hundred answers')
            for d in dialers:
                d.go = False
            for d in dialers:
                d.join()
            answered, lost, refused = (sum(getattr(d, k) for d in dialers) for k in ('answered', 'lost', 'refused'))
            print(f'{killed} kills: {answered} answered, {lost} lost with their worker, {refused} refused')
            self.assertEqual(refused, 0)
            # Each kill can take at most what was open on it: one request per dialer.
            self.assertLessEqual(lost, killed * len(dialers))
            self.assertEqual(gw.get('/')[0], 200)

    def test_a_hanging_worker_is_replaced(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            before = gw.pids('worker')
            os.kill(before[0], signal.SIGSTOP)
            gw.until(lambda: len(now := gw.pids('worker')) == 2 and before[0] not in now, what='the stopped worker is replaced')
            for _ in range(20):
                self.assertEqual(gw.get('/')[0], 200)

    def test_agent_and_control_plane_die_without_effect(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=1) as gw:
            load = Load('rate', gw.http, 'a.example', '/6', 500, 300, 8)
            for role in ('agent', 'controlplane'):
                victim = gw.pids(role)[0]
                os.kill(victim, signal.SIGKILL)
                gw.until(lambda: any(pid != victim for pid in gw.pids(role)), what=f'{role} is back')
            time.sleep(1)  # the load meets what the new ones do first, too
            result = load.finish()
            self.assertEqual(result['failed'], 0, result)
            # And the new pair still takes changes.
            gw.write('more.json', [ingress('more', 'b.example', 'web')])
            gw.until(lambda: gw.get('/', host='b.example')[0] == 200, what='a change after both were replaced')

    def test_cold_start_from_disk(self):
        """The data plane alone, with nothing but its state folder, serves what it knew."""
        with Origin(1) as origin:
            gw = Gateway(objects(origin.ports[0]), workers=1)
            try:
                self.assertEqual(gw.get('/')[0], 200)
                gw.end()  # which waits for the disk: a state is kept there once a second at most
                with DataPlane(gw, find_state(gw.state)) as port:
                    gw.until(lambda: gw.get('/', port=port)[0] == 200, what='served from disk')
            finally:
                gw.stop()

    def test_damaged_state_is_passed_over(self):
        """The newest state damaged: the one before serves, whole. That one too: nothing is served, nothing crashes, and a control plane mends it."""
        with Origin(1) as origin:
            gw = Gateway(objects(origin.ports[0]), workers=1)
            try:
                state = os.path.join(gw.state, 'last-good')
                gw.until(lambda: 'manifest' in os.listdir(state), what='the first state is on disk')
                first = tables(state)
                gw.write('more.json', [ingress('more', 'b.example', 'web')])
                gw.until(lambda: gw.get('/', host='b.example')[0] == 200, what='a second state')
                gw.until(lambda: tables(state) - first, what='the second state is on disk')
                gw.end()  # which waits for the disk
                newest = tables(state) - first
                self.assertEqual((len(newest), len(tables(state))), (1, 2))
                damage(newest.pop())
                with DataPlane(gw, state) as port:
                    gw.until(lambda: gw.get('/', port=port)[0] == 200, what='the state before')
                    self.assertEqual(gw.get('/', host='b.example', port=port)[0], 404, 'half of the newer one would be worse')
                for path in tables(state):
                    damage(path)
                alone = DataPlane(gw, state, usable=False)
                with alone:
                    def told(path):
                        return any('state on disk not used' in line and os.path.basename(path) in line for line in gw.tail(1000).split('\n'))
                    gw.until(lambda: all(map(told, tables(state))), what=f'both are told as damaged: {tables(state)}')
                    self.assertIsNone(alone.proc.poll())
                    self.assertEqual(sockets_of(alone.proc.pid), set())
                gw.start()
                self.assertEqual(gw.get('/', host='b.example')[0], 200)
            finally:
                gw.stop()


class DataPlane:
    """sluice-dataplane alone on a state folder, with no control plane to be found. As a context: the port it listens on; `usable` False: none is waited for."""

    def __init__(self, gw, state, usable=True):
        self.gw, self.usable, self.before = gw, usable, gw.tail(1000).count('not reachable')
        self.proc = subprocess.Popen([os.path.join(BIN, 'sluice-dataplane'), '--socket', os.path.join(gw.work, 'nobody.sock'), '--state', state, '--foreground'],
                                     stdout=subprocess.DEVNULL, stderr=gw.log)

    def __enter__(self):
        if not self.usable:
            self.gw.until(lambda: self.gw.tail(1000).count('not reachable') > self.before, what='it looks for a control plane')
            return None
        found = set()
        self.gw.until(lambda: found.update(sockets_of(self.proc.pid)) or found, what='it listens')
        return found.pop()

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait(60)


def tables(state):
    return {os.path.join(state, name) for name in os.listdir(state) if name.startswith('state.table.')}


def damage(path):
    """Does the same however often it is done."""
    with open(path, 'r+b') as f:
        f.seek(os.path.getsize(path) // 2)
        f.write(b'\xa5' * 8)


def find_state(root):
    """The folder below root that holds the data plane's last good state."""
    for folder, _, files in os.walk(root):
        if any('table' in f for f in files):
            return folder
    raise AssertionError(f'no state under {root}: {list(os.walk(root))}')


def sockets_of(master):
    """TCP ports that a data plane's processes listen on."""
    inodes = set()
    for p in [master] + [int(c) for c in slurp(f'/proc/{master}/task/{master}/children').split()]:
        try:
            for fd in os.listdir(f'/proc/{p}/fd'):
                link = os.readlink(f'/proc/{p}/fd/{fd}')
                if link.startswith('socket:['):
                    inodes.add(link[8:-1])
        except OSError:
            pass
    rows = [line.split() for line in slurp('/proc/net/tcp').strip().split('\n')[1:]]
    return {int(f[1].split(':')[1], 16) for f in rows if f[3] == '0A' and f[9] in inodes}


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
