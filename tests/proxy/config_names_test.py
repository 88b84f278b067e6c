#!/usr/bin/env python3
"""Every name of the config file that is promised to stay (README, docs/reference/configuration.md): accepted, and it does what it says. Where a time is given,
only what happens is checked, never when: the defaults are so long that nothing of it would happen before a test gives up."""
import json
import os
import socket
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, SLOW, Gateway, ingress, read_answer, service, slurp  # noqa: E402
from lib.raw_http import RawUpstream  # noqa: E402

HEAD = b'GET / HTTP/1.1\r\nHost: a.example\r\n'


def objects(*ports):
    return [CLASS] + service('web', ports) + [ingress('web', 'a.example', 'web')]


class Silent:
    """Accepts connections and never says a word."""

    def __init__(self):
        self.socket = socket.create_server(('127.0.0.1', 0))
        self.port, self.held = self.socket.getsockname()[1], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                self.held.append(self.socket.accept()[0])
            except OSError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        for s in self.held:
            s.close()


class Unreachable:
    """A port where connecting hangs: its queue is full and nobody accepts."""

    def __enter__(self):
        self.socket = socket.socket()
        self.socket.bind(('127.0.0.1', 0))
        self.socket.listen(0)
        self.port = self.socket.getsockname()[1]
        self.fill = []
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(('127.0.0.1', self.port))
            self.fill.append(s)
        return self

    def __exit__(self, *_):
        for s in [self.socket, *self.fill]:
            s.close()


def ask(gw, raw, method='GET'):
    with gw.connect() as s:
        s.sendall(raw)
        return read_answer(s, method)


def reason(answer):
    return json.loads(answer[2])['reason']


class Timeouts(unittest.TestCase):
    def test_of_the_client(self):
        # One at a time: where one is looked at, the others leave the test all the time it needs.
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='timeouts: {requestHeader: 300ms}') as gw:
            answer = ask(gw, HEAD)
            self.assertEqual((answer[0], reason(answer)), (408, 'request_header_timeout'))
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='timeouts: {requestBodyIdle: 300ms}') as gw:
            answer = ask(gw, b'POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n12345')
            self.assertEqual((answer[0], reason(answer)), (408, 'request_body_timeout'))
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='timeouts: {keepAlive: 300ms}') as gw:
            with gw.connect() as s:
                s.sendall(HEAD + b'\r\n')
                self.assertEqual(read_answer(s)[0], 200)
                self.assertEqual(s.recv(1), b'', 'closed after its idle time')

    def test_of_the_upstream(self):
        with Silent() as silent:
            with Gateway(objects(silent.port), admin=False, config='timeouts: {upstreamResponse: 300ms}') as gw:
                answer = gw.get('/')
                self.assertEqual((answer[0], reason(answer)), (504, 'response_timeout'))
            with Gateway(objects(silent.port), admin=False, config='timeouts: {request: 300ms}') as gw:
                answer = gw.get('/')
                self.assertEqual((answer[0], reason(answer)), (504, 'request_timeout'))
        with Unreachable() as unreachable:
            # Which of two timers in the gateway fires: by default upstreamConnect is longer (2s) than the request here.
            with Gateway(objects(unreachable.port), admin=False, config='timeouts: {upstreamConnect: 50ms, request: 1900ms}') as gw:
                answer = gw.get('/')
                self.assertEqual((answer[0], reason(answer)), (504, 'connect_timeout'))
            with Gateway(objects(unreachable.port), admin=False, config='timeouts: {upstreamConnect: 5m, request: 1s}') as gw:
                answer = gw.get('/')
                self.assertEqual((answer[0], reason(answer)), (504, 'request_timeout'))


class Limits(unittest.TestCase):
    def test_limits(self):
        config = 'limits: {headerBytes: 1Ki, headerCount: 20, requestLine: 300, bodyBytes: 100}'
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config=config) as gw:
            post = b'POST / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n'
            for raw, wanted in (
                    (b'GET /' + b'x' * 150 + HEAD[5:] + b'\r\n', (200, None)),
                    (b'GET /' + b'x' * 350 + HEAD[5:] + b'\r\n', (414, 'request_line_too_long')),
                    (HEAD + b'X-A: ' + b'a' * 700 + b'\r\n\r\n', (200, None)),
                    (HEAD + b'X-A: ' + b'a' * 1200 + b'\r\n\r\n', (431, 'headers_too_large')),
                    (HEAD + b'X-A: a\r\n' * 19 + b'\r\n', (200, None)),
                    (HEAD + b'X-A: a\r\n' * 20 + b'\r\n', (431, 'too_many_headers')),
                    (post + b'Content-Length: 100\r\n\r\n' + b'b' * 100, (200, None)),
                    (post + b'Content-Length: 101\r\n\r\n' + b'b' * 101, (413, 'body_too_large')),
                    (post + b'Transfer-Encoding: chunked\r\n\r\n' + b'40\r\n' + b'b' * 64 + b'\r\n40\r\n' + b'b' * 64 + b'\r\n0\r\n\r\n', (413, 'body_too_large')),
            ):
                with self.subTest(request=raw[:60], size=len(raw)):
                    answer = ask(gw, raw)
                    self.assertEqual((answer[0], None if answer[0] == 200 else reason(answer)), wanted)

    def test_defaults_let_through_what_the_small_limits_do_not(self):
        with RawUpstream() as up, Gateway(objects(up.port), admin=False) as gw:
            for raw in (b'GET /' + b'x' * 7000 + HEAD[5:] + b'\r\n', HEAD + b'X-A: ' + b'a' * 30_000 + b'\r\n\r\n', HEAD + b'X-A: a\r\n' * 99 + b'\r\n',
                        b'POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n' + b'b' * 1_000_000):
                self.assertEqual(ask(gw, raw)[0], 200)


class AccessLog(unittest.TestCase):
    def test_path_and_json(self):
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='accessLog: {path: %s}' % os.path.join(work(self), 'log')) as gw:
            self.assertEqual(gw.get('/x?y=1')[0], 200)
            self.assertEqual(gw.get('/x', host='nobody.example')[0], 404)
            path = os.path.join(self.work, 'log')
            gw.until(lambda: slurp(path).count('\n') == 2, what='two lines')
            good, bad = map(json.loads, slurp(path).strip().split('\n'))
            self.assertEqual((good['status'], good['path'], good['query'], good['host'], good['origin_kind'], good['origin_namespace'], good['origin_name'], good['attempts']),
                             (200, '/x', 'y=1', 'a.example', 'Ingress', 'default', 'web', 1))
            self.assertEqual(good['upstream'], f'127.0.0.1:{up.port}')
            self.assertEqual((bad['status'], bad['reason']), (404, 'no_route'))
            self.assertNotEqual(good['request_id'], bad['request_id'])

    def test_format(self):
        config = 'accessLog:\n  path: %s\n  format: "%%{method} %%{path} <%%{status}>"' % os.path.join(work(self), 'log')
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config=config) as gw:
            self.assertEqual(gw.get('/x%20y')[0], 200)
            path = os.path.join(self.work, 'log')
            gw.until(lambda: slurp(path).endswith('\n'), what='a line')
            self.assertEqual(slurp(path), 'GET /x%20y <200>\n')

    def test_standard_error_and_off(self):
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='accessLog: {path: /dev/stderr}') as gw:
            gw.get('/logged')
            gw.until(lambda: '"/logged"' in gw.tail(), what='the line on stderr')
            gw.configure('accessLog: {path: "off"}')
            gw.until(lambda: silent(gw), what='the log is off')
            self.assertIsNone(gw.proc.poll())


def silent(gw):
    """True if a request whose line could have been written was not."""
    before = slurp(gw.log_path).count('"/silent"')
    with gw.connect() as s:
        for _ in range(20):
            s.sendall(b'GET /silent HTTP/1.1\r\nHost: a.example\r\n\r\n')
            if read_answer(s)[0] != 200:
                return False
    # Lines are written after at most a quarter of a second; a marker of the control plane's own log is not needed: until() asks again.
    threading.Event().wait(0.5 * SLOW)
    return slurp(gw.log_path).count('"/silent"') == before


def work(test):
    import shutil
    import tempfile
    test.work = tempfile.mkdtemp(prefix='sluice-test.')
    test.addCleanup(shutil.rmtree, test.work, True)
    return test.work


class Peers(unittest.TestCase):
    CLAIMS = (('X-Forwarded-For', '203.0.113.7'), ('X-Forwarded-Proto', 'https'), ('X-Forwarded-Host', 'front.example'), ('X-Request-Id', 'given-by-the-proxy-1'), ('X_Real_IP', '203.0.113.9'))

    def seen(self, gw, up):
        self.assertEqual(gw.get('/', headers=self.CLAIMS)[0], 200)
        message = up.requests[-1][1]
        return {name: [v.decode() for v in message.all(name.encode())] for name in ('X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'X-Request-Id', 'X-Real-IP', 'X_Real_IP')}

    def test_trusted_proxies(self):
        with RawUpstream() as up, Gateway(objects(up.port), admin=False) as gw:
            got = self.seen(gw, up)
            self.assertEqual((got['X-Forwarded-For'], got['X-Forwarded-Proto'], got['X-Real-IP'], got['X_Real_IP']), (['127.0.0.1'], ['http'], ['127.0.0.1'], []))
            self.assertNotEqual(got['X-Request-Id'], ['given-by-the-proxy-1'])
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='trustedProxies: [127.0.0.0/8, 10.0.0.0/8]') as gw:
            got = self.seen(gw, up)
            self.assertEqual((got['X-Forwarded-For'], got['X-Forwarded-Proto'], got['X-Real-IP']), (['203.0.113.7, 127.0.0.1'], ['https'], ['203.0.113.7']))
            self.assertEqual((got['X-Request-Id'], got['X-Forwarded-Host']), (['given-by-the-proxy-1'], ['front.example']))
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='trustedProxies: [10.0.0.0/8]') as gw:
            self.assertEqual(self.seen(gw, up)['X-Forwarded-For'], ['127.0.0.1'])

    V1 = b'PROXY TCP4 203.0.113.7 203.0.113.1 40000 80\r\n'
    V1_6 = b'PROXY TCP6 2001:db8::7 2001:db8::1 40000 80\r\n'
    V2 = b'\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c' + socket.inet_aton('203.0.113.7') + socket.inet_aton('203.0.113.1') + (40000).to_bytes(2, 'big') + (80).to_bytes(2, 'big')
    V2_LOCAL = b'\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'

    def test_proxy_protocol(self):
        request = HEAD + b'Connection: close\r\n\r\n'
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='proxyProtocol: [127.0.0.1/32]') as gw:
            for header, client in ((self.V1, '203.0.113.7'), (self.V1_6, '2001:db8::7'), (self.V2, '203.0.113.7'), (self.V2_LOCAL, '127.0.0.1'), (b'PROXY UNKNOWN\r\n', '127.0.0.1')):
                with self.subTest(header=header):
                    self.assertEqual(ask(gw, header + request)[0], 200)
                    self.assertEqual(up.requests[-1][1].all(b'X-Forwarded-For'), [client.encode()])
            # From a peer of whom the header is expected, nothing else is taken.
            for bad in (request, b'PROXY TCP4 203.0.113.7 203.0.113.1 40000\r\n' + request, self.V2[:12] + b'\x31' + self.V2[13:] + request, b'PROXY TCP4 ' + b'1' * 200 + b'\r\n' + request):
                with self.subTest(bad=bad[:40]), gw.connect() as s:
                    before = len(up.requests)
                    s.sendall(bad)
                    self.assertEqual(drained(s), b'')
                    self.assertEqual(len(up.requests), before)
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, config='proxyProtocol: [10.0.0.0/8]') as gw:
            self.assertEqual(ask(gw, request)[0], 200)
            for header in (self.V1, self.V2):  # of a peer that is not trusted they are bytes of a malformed request
                self.assertEqual(ask(gw, header + request)[0], 400)
            self.assertEqual(len(up.requests), 1)


def drained(s):
    out = b''
    try:
        while got := s.recv(65536):
            out += got
    except ConnectionResetError:
        pass
    return out


class Objects(unittest.TestCase):
    def test_host_ownership(self):
        theirs = ingress('other', 'a.example', 'web', path='/other', ns='second')
        theirs['metadata']['creationTimestamp'] = '2026-01-02T00:00:00Z'
        mine = ingress('web', 'a.example', 'web', path='/mine')
        mine['metadata']['creationTimestamp'] = '2026-01-01T00:00:00Z'
        with RawUpstream() as up:
            both = [CLASS, mine, theirs] + service('web', [up.port]) + service('web', [up.port], ns='second')
            for config, second in (('', 404), ('hostOwnership: namespace', 404), ('hostOwnership: shared', 200)):
                with self.subTest(config=config), Gateway(both, admin=False, config=config) as gw:
                    self.assertEqual((gw.get('/mine')[0], gw.get('/other')[0]), (200, second))

    def test_watch_namespaces(self):
        with RawUpstream() as up:
            both = [CLASS] + service('web', [up.port]) + service('web', [up.port], ns='second') + [ingress('web', 'a.example', 'web'), ingress('web', 'b.example', 'web', ns='second')]
            for config, statuses in (('', (200, 200)), ('watchNamespaces: [second]', (404, 200)), ('watchNamespaces: [default, second]', (200, 200))):
                with self.subTest(config=config), Gateway(both, admin=False, config=config) as gw:
                    self.assertEqual((gw.get('/')[0], gw.get('/', host='b.example')[0]), statuses)

    def test_workers(self):
        with RawUpstream() as up, Gateway(objects(up.port), admin=False, workers=None, config='workers: 3') as gw:
            gw.until(lambda: len(gw.pids('worker')) == 3, what='three workers')


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
