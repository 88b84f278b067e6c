#!/usr/bin/env python3
"""What changes while `sluice run` serves: workers, listeners and addresses, settings, signals, TLS resumption across processes, targets of the access log that
take nothing. No request may fail for it."""
import contextlib
import json
import os
import random
import re
import signal
import socket
import ssl
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.control_group import control_group, inside, lift_cpu_limit, move  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, Load, Origin, ingress, make_certificate, read_answer, service, slurp, tls_secret, until  # noqa: E402
from lib.raw_http import RawUpstream  # noqa: E402


def objects(port):
    return [CLASS] + service('web', [port]) + [ingress('web', 'a.example', 'web')]


def free_ports(count):
    """Different free ports, below those that the kernel gives to connections: it must not choose one of them before it is listened on."""
    low, found = int(slurp('/proc/sys/net/ipv4/ip_local_port_range').split()[0]), []
    for port in random.sample(range(min(low, 32768) // 2, min(low, 32768)), 200):
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(('127.0.0.1', port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError('no free ports')


def refused(address, port):
    try:
        socket.create_connection((address, port), timeout=PATIENCE).close()
        return False
    except ConnectionRefusedError:
        return True


def titles(gw):
    out = []
    for pid in gw.pids():
        with contextlib.suppress(OSError):
            out.append(slurp(f'/proc/{pid}/cmdline').split('\0')[0])
    return sorted(title for title in out if title.startswith('sluice-dataplane'))


class Processes(unittest.TestCase):
    def test_titles_and_the_number_of_workers_while_requests_run(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=None, config='workers: 1') as gw:
            wanted = lambda n: ['sluice-dataplane: agent', 'sluice-dataplane: master'] + [f'sluice-dataplane: worker {i + 1}' for i in range(n)]
            gw.until(lambda: titles(gw) == wanted(1), what=f'one worker: {titles(gw)}')
            load = Load('new', gw.http, 'a.example', '/6', 0, 300, 4)
            try:
                for n in (3, 2, 4, 1):
                    gw.configure(f'workers: {n}')
                    gw.until(lambda: titles(gw) == wanted(n), what=f'{n} workers: {titles(gw)}')
                    self.assertEqual(gw.get('/')[0], 200)
                result = load.finish()
            finally:
                load.stop()
            self.assertEqual(result['failed'], 0, result)
            self.assertGreater(result['requests'], 0, result)
            gw.until(lambda: 'sluice_workers 1\n' in gw.metrics(), what='the metrics say one')

    def test_a_stopped_worker_refuses_nobody(self):
        """SIGSTOP: what is queued on its socket waits for its successor. Its own streams are lost with it."""
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2) as gw:
            victim = gw.pids('worker')[0]
            os.kill(victim, signal.SIGSTOP)
            gw.until(lambda: slurp(f'/proc/{victim}/stat').rpartition(')')[2].split()[0] == 'T', what='it stands')
            failed = []

            def dial():
                try:
                    with gw.connect() as s:
                        s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
                        if read_answer(s)[0] != 200:
                            failed.append('status')
                except ConnectionRefusedError:
                    failed.append('refused')
                except OSError:
                    failed.append('lost')
            threads = [threading.Thread(target=dial) for _ in range(40)]
            for t in threads:
                t.start()
            gw.until(lambda: len(now := gw.pids('worker')) == 2 and victim not in now, what='it is replaced')
            for t in threads:
                t.join()
            self.assertEqual(failed, [], 'all were connected after it stopped, so none was its own')

    def test_workers_by_the_cpu_quota(self):
        with control_group(cpu=1.5) as folders, Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=None, admin=False, wait=False, wrap=inside(folders)) as gw:
            gw.read_ports()
            gw.until(lambda: len(gw.pids('worker')) == min(2, os.cpu_count()), what=f'two workers: {titles(gw)}')
            self.assertEqual(gw.get('/')[0], 200)

    def test_a_worker_that_gets_no_cpu_is_left_alone(self):
        """More handshakes than its quota allows for many seconds: it is late, and not replaced; all of them end well when it may run again."""
        with control_group(cpu=0.001, period_us=1000000) as folders, Origin(1) as origin, Gateway(objects(origin.ports[0]), https=True, workers=1, config='timeouts: {tlsHandshake: 300s}\n') as gw:
            before, failed = gw.pids('worker'), []
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            move(folders, before[0])

            def handshake():
                try:
                    with context.wrap_socket(gw.connect(gw.https)) as s:
                        s.sendall(b'GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n')
                        if read_answer(s)[0] != 404:
                            failed.append('status')
                except OSError as e:
                    failed.append(repr(e))
            threads = [threading.Thread(target=handshake) for _ in range(100)]
            for t in threads:
                t.start()
            try:
                gw.until(lambda: 'worker is late' in gw.tail(1000), what='it is late')
            finally:
                lift_cpu_limit(folders)
                for t in threads:
                    t.join()
            self.assertEqual((failed, gw.pids('worker')), ([], before))
            self.assertNotIn('worker killed', gw.tail(1000))


class Listeners(unittest.TestCase):
    def test_ports_and_addresses_change(self):
        one, two, tls = free_ports(3)
        with Origin(1) as origin:
            gw = Gateway(objects(origin.ports[0]), http=False, admin=False, bind=None, config=f'listeners: {{http: {one}, bind: [127.0.0.1]}}')
            with gw:
                self.assertEqual(gw.http, one)
                self.assertTrue(refused('::1', one))
                with gw.connect(one) as kept:
                    kept.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
                    self.assertEqual(read_answer(kept)[0], 200)
                    gw.configure(f'listeners: {{http: {one}, bind: [127.0.0.1, "::1"]}}')
                    gw.until(lambda: not refused('::1', one), what='a second address')
                    gw.configure(f'listeners: {{http: {two}, https: {tls}, bind: [127.0.0.1]}}')
                    gw.until(lambda: gw.get('/', port=two)[0] == 200, what='another port')
                    gw.until(lambda: refused('127.0.0.1', one) and refused('::1', one), what='the old port and address are closed')
                    gw.until(lambda: not refused('127.0.0.1', tls), what='an HTTPS listener')
                    # A connection outlives its listener.
                    kept.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
                    self.assertEqual(read_answer(kept)[0], 200)
                gw.configure(f'listeners: {{http: {two}, bind: [127.0.0.1]}}')
                gw.until(lambda: refused('127.0.0.1', tls), what='HTTPS is off again')
                # What cannot be had leaves everything as it was.
                gw.configure(f'listeners: {{http: {two}, bind: [203.0.113.99]}}')
                gw.until(lambda: '203.0.113.99' in gw.tail(), what='the address is named')
                self.assertEqual(gw.get('/', port=two)[0], 200)

    def test_a_refused_config_changes_nothing(self):
        with RawUpstream() as up, Gateway(objects(up.port), config='limits: {headerCount: 20}', args=['--controlplane-admin-port', '0']) as gw:
            refused = lambda: b'\nsluice_controlplane_options_refused 1\n' in gw.get('/metrics', host='admin', port=gw.ports['controlplane_admin'])[2]
            many = [(f'X-{i}', 'a') for i in range(30)]
            self.assertEqual((gw.get('/', headers=many)[0], refused()), (431, False))
            gw.configure('limits: {headerCount: 200}\nlimit: {}')
            gw.until(lambda: 'did you mean' in gw.tail(), what='the error is told')
            self.assertEqual((gw.get('/', headers=many)[0], refused()), (431, True))
            gw.configure('limits: {headerCount: 200}')
            gw.until(lambda: gw.get('/', headers=many)[0] == 200, what='the corrected file is taken')
            self.assertFalse(refused())


class Signals(unittest.TestCase):
    def test_sighup_reopens_the_log(self):
        with tempfile.TemporaryDirectory() as work:
            log = os.path.join(work, 'access.log')
            with Origin(1) as origin, Gateway(objects(origin.ports[0]), admin=False, workers=2, config=f'accessLog: {{path: {log}}}') as gw:
                self.assertEqual(gw.get('/before')[0], 200)
                gw.until(lambda: '"/before"' in slurp(log), what='a line')
                os.rename(log, log + '.1')
                gw.proc.send_signal(signal.SIGHUP)
                gw.until(lambda: os.path.exists(log), what='the file is made anew')
                # Both workers must have let go of the old one.
                gw.until(lambda: all(f'{log}.1' not in open_files(pid) for pid in gw.pids('worker')), what='nobody holds the old file')
                before = slurp(log + '.1')
                for i in range(20):
                    self.assertEqual(gw.get(f'/after-{i}')[0], 200)
                gw.until(lambda: slurp(log).count('"/after-') == 20, what='lines in the new file')
                self.assertEqual(slurp(log + '.1'), before)

    def test_sigusr1_shows_what_streams_do(self):
        quiet = socket.create_server(('127.0.0.1', 0))
        with quiet, Gateway(objects(quiet.getsockname()[1]), admin=False, workers=1) as gw, gw.connect() as s:
            s.sendall(b'GET /waits?secret=1 HTTP/1.1\r\nHost: a.example\r\n\r\n')
            held, _ = quiet.accept()
            with held:
                gw.proc.send_signal(signal.SIGUSR1)
                streams = lambda: [line for line in gw.lines() if '"msg":"stream"' in line]
                gw.until(streams, what='a line for the stream')
                lines = [json.loads(line) for line in streams()]
                self.assertEqual(len(lines), 1, lines)
                self.assertEqual((lines[0]['component'], lines[0]['method'], lines[0]['host'], lines[0]['path'], lines[0]['phase']), ('worker 1', 'GET', 'a.example', '/waits', 'attempt'))
                self.assertIn(str(quiet.getsockname()[1]), lines[0]['upstream'])
                held.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n')
                self.assertEqual(read_answer(s)[0], 200, 'the stream goes on')


def open_files(pid):
    out = []
    with contextlib.suppress(OSError):
        for fd in os.listdir(f'/proc/{pid}/fd'):
            with contextlib.suppress(OSError):
                out.append(os.readlink(f'/proc/{pid}/fd/{fd}'))
    return out


class Tickets(unittest.TestCase):
    def exchange(self, gw, session=None):
        """One request with TLS; (session to resume, was this one resumed, worker that answered)."""
        with gw.connect(gw.https) as raw, self.context.wrap_socket(raw, server_hostname='a.example', session=session) as s:
            s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
            self.assertEqual(read_answer(s)[0], 200)
            return s.session, s.session_reused

    def test_sessions_resume_on_every_worker_and_after_each_was_replaced(self):
        with tempfile.TemporaryDirectory() as work, Origin(1) as origin:
            cert, key = make_certificate(work, 'a.example')
            self.context = ssl.create_default_context(cafile=cert)
            tls = [CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web', tls='a-tls'), tls_secret('a-tls', cert, key)]
            with Gateway(tls, https=True, workers=3) as gw:
                session, resumed = self.exchange(gw)
                self.assertFalse(resumed)
                for _ in range(30):  # the kernel spreads them over the workers; each takes the tickets of all
                    session, resumed = self.exchange(gw, session)
                    self.assertTrue(resumed)
                before = gw.pids('worker')
                for pid in before:
                    os.kill(pid, signal.SIGKILL)
                gw.replaced('worker', before, 'three other workers')
                for _ in range(10):
                    session, resumed = self.exchange(gw, session)
                    self.assertTrue(resumed, 'keys outlive the workers')
                old = gw.pids('worker')
                os.kill(gw.pids('master')[0], signal.SIGUSR2)
                gw.replaced('worker', old, 'workers of the new binary')
                session, resumed = self.exchange(gw, session)
                self.assertTrue(resumed, 'keys outlive the binary')
                # Another certificate: what was made under the old one resumes no more.
                other, other_key = make_certificate(work, 'a.example')
                gw.write('objects.json', tls[:-1] + [tls_secret('a-tls', other, other_key)])
                self.context = ssl.create_default_context(cafile=other)
                gw.until(lambda: self.fresh(gw), what='the new certificate')
                self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
                with gw.connect(gw.https) as raw:
                    self.assertFalse(self.resumes_with(raw, session))

    def fresh(self, gw):
        try:
            return not self.exchange(gw)[1]
        except ssl.SSLError:
            return False

    def resumes_with(self, raw, session):
        # A session belongs to the context that made it: one of the old context without verification stands for a client that has not noticed.
        try:
            with self.context.wrap_socket(raw, server_hostname='a.example', session=session) as s:
                return s.session_reused
        except ValueError:
            return False


class AccessLogTargets(unittest.TestCase):
    def counters(self, gw):
        text = gw.metrics()
        return {name: sum(float(v) for v in re.findall(rf'^sluice_access_log_{name}_total(?:{{[^}}]*}})? (\S+)$', text, re.M)) for name in ('lines', 'dropped')}

    def ask_until_lines_are_dropped(self, gw, connections):
        def dropped():
            result = Load('rate', gw.http, 'a.example', '/6', 2000, 1, connections).result()
            self.assertEqual(result['failed'], 0, result)
            return self.counters(gw)['dropped'] > 0
        gw.until(dropped, 200, 'lines are dropped and counted')

    def test_a_full_disk_costs_lines_never_requests(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0]), config='accessLog: {path: /dev/full}') as gw:
            result = Load('new', gw.http, 'a.example', '/6', 0, 2, 4).result()
            self.assertEqual(result['failed'], 0, result)
            # Lines wait in a buffer; more of them than it holds, and some are dropped and counted.
            self.ask_until_lines_are_dropped(gw, 4)
            with tempfile.TemporaryDirectory() as work:
                log = os.path.join(work, 'log')
                gw.configure(f'accessLog: {{path: {log}}}')
                gw.until(lambda: gw.get('/again')[0] == 200 and os.path.exists(log) and '"/again"' in slurp(log), what='another target takes lines')

    def test_a_blocked_pipe_costs_lines_never_requests(self):
        with tempfile.TemporaryDirectory() as work:
            fifo = os.path.join(work, 'fifo')
            os.mkfifo(fifo)
            reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
            try:
                with Origin(1) as origin, Gateway(objects(origin.ports[0]), workers=2, config=f'accessLog: {{path: {fifo}}}') as gw:
                    self.ask_until_lines_are_dropped(gw, 8)
                    # Read again: whole lines, those that waited first, then new ones.
                    got = bytearray()

                    def new_line():
                        with contextlib.suppress(BlockingIOError):
                            while piece := os.read(reader, 1 << 16):
                                got.extend(piece)
                        gw.get('/at-last')
                        return b'"/at-last"' in got
                    gw.until(new_line, what='new lines')
                    for line in bytes(got).split(b'\n')[:-1]:
                        json.loads(line)
            finally:
                os.close(reader)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
