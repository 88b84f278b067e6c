#!/usr/bin/env python3
"""HTTP/2 with clients that are not ours (curl, nghttp, h2load), by prior knowledge and by ALPN, before an HTTP/1.1 and before an HTTP/2 upstream: a hundred objects over
one connection, bodies of 10 MiB both ways whose content is compared, HEAD, and the same for an HTTP/2 server that is not ours (nghttpd)."""
import hashlib
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib import raw_h2  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, Origin, end_processes, ingress, make_certificate, service, slurp, tls_secret, until  # noqa: E402

HOST = 'localhost'
PLAIN = {'sluice.dev/ssl-redirect': 'false'}
BIG = 10 << 20


def content(path):
    """Of the object at a path: /N is N * 317 bytes."""
    size = int(path.strip('/')) * 317 if path.strip('/').isdigit() else BIG
    block = hashlib.sha256(path.encode()).digest()
    return (block * (size // 32 + 1))[:size]


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Http1:
    """GET: content(path); POST: the digest of the body."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def answer(self, body):
                self.send_response(200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(body)

            def do_GET(self):
                self.answer(content(self.path))

            def do_POST(self):
                got, size = hashlib.sha256(), self.headers['Content-Length']
                if size is not None:
                    got.update(self.rfile.read(int(size)))
                else:
                    while n := int(self.rfile.readline(), 16):
                        got.update(self.rfile.read(n))
                        self.rfile.readline()
                    self.rfile.readline()
                self.answer(got.hexdigest().encode())

            do_HEAD, do_PUT = do_GET, do_POST

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 1024  # a stream each is a connection each here

        self.server = Server(('127.0.0.1', 0), Handler)
        self.server.handle_error = lambda *_: None
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def http2_answer(conn, stream):
    method, path = (dict(stream.fields)[n].decode() for n in (b':method', b':path'))
    body = digest(stream.body).encode() if method in ('POST', 'PUT') else content(path)
    conn.send(raw_h2.headers(stream.id, [(b':status', b'200'), (b'content-length', b'%d' % len(body))], method == 'HEAD'))
    if method != 'HEAD':
        conn.send_body(stream, body)


class Http2(raw_h2.Upstream):
    """The same."""

    def __init__(self):
        super().__init__(settings=[(raw_h2.MAX_CONCURRENT_STREAMS, 100)])
        self.script(http2_answer)


class Nghttpd:
    """Files of a folder, and what is sent to it back."""

    def __init__(self, folder):
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.port = s.getsockname()[1]
        self.proc = subprocess.Popen(['nghttpd', '--no-tls', '--address=127.0.0.1', '--echo-upload', '-d', folder, str(self.port)], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        until(lambda: socket.create_connection(('127.0.0.1', self.port)).close() is None, PATIENCE, 'nghttpd listens')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_processes(self.proc)


def run(*command, **more):
    return subprocess.run(command, capture_output=True, timeout=3 * PATIENCE, stdin=subprocess.DEVNULL, **more)


class Interop:
    """make, protocol: the upstream and its Service's appProtocol."""

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix='sluice-interop.')
        cls.addClassCleanup(shutil.rmtree, cls.work, True)
        cls.certificate = make_certificate(cls.work, HOST)
        cls.big = os.path.join(cls.work, 'big')
        with open(cls.big, 'wb') as f:
            f.write(content('/big'))
        cls.env = dict(os.environ, no_proxy='*', NO_PROXY='*')
        cls.upstream = cls.enterClassContext(cls.make())
        objects = [CLASS, tls_secret('cert', *cls.certificate)] + service('up', [cls.upstream.port], protocol=cls.protocol) + [ingress('up', HOST, 'up', tls='cert', annotations=PLAIN)]
        cls.gateway = cls.enterClassContext(Gateway(objects, https=True))

    def tearDown(self):
        self.assertEqual(getattr(self.upstream, 'errors', []), [])

    def each(self, check):
        """check(curl's flags, URL, whether by TLS) at both listeners."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                if tls:
                    check(['--http2', '--cacert', self.certificate[0]], f'https://{HOST}:{self.gateway.https}', tls)
                else:
                    check(['--http2-prior-knowledge'], f'http://{HOST}:{self.gateway.http}', tls)

    def curl(self, *args):
        done = run('curl', '-sS', '-4', *args, env=self.env)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        return done.stdout

    def curl_many(self, flags, url, count, tls, *more):
        """The objects 1 to count, as files of a folder. At once and over one connection where ALPN has told that one will do; curl 7.88 cannot use one again by prior
        knowledge, whoever the server is, so there each is asked for by a curl of its own (nghttp has that case)."""
        out = tempfile.mkdtemp(dir=self.work)
        ranges = [f'[1-{count}]'] if tls else [str(i) for i in range(1, count + 1)]
        said = []
        for which in ranges:
            said += self.curl(*flags, *(['-Z', '--parallel-max', '50'] if tls else []), *more, f'{url}/{which}', '-o', os.path.join(out, '#1' if tls else which), '-w',
                              '%{http_version} %{http_code} %{num_connects}\n').decode().split('\n')[:-1]
        self.assertEqual({line.rpartition(' ')[0] for line in said}, {'2 200'})
        self.assertEqual(len(said), count)
        self.assertEqual(sum(int(line.rpartition(' ')[2]) for line in said), len(ranges), 'connections')
        return [os.path.join(out, str(i)) for i in range(1, count + 1)]

    def test_curl_many_objects(self):
        def check(flags, url, tls):
            for i, path in enumerate(self.curl_many(flags, url, 100 if tls else 5, tls), 1):
                with open(path, 'rb') as f:
                    self.assertEqual(digest(f.read()), digest(content(f'/{i}')), i)
        self.each(check)

    def test_curl_large_both_ways(self):
        def check(flags, url, _):
            self.assertEqual(digest(self.curl(*flags, f'{url}/big')), digest(content('/big')))
            self.assertEqual(self.curl(*flags, '--data-binary', f'@{self.big}', f'{url}/post').decode(), digest(content('/big')))
            # Without a length.
            with open(self.big, 'rb') as f:
                put = subprocess.run(['curl', '-sS', '-4', *flags, '-X', 'PUT', '-T', '-', f'{url}/put'], stdin=f, capture_output=True, timeout=3 * PATIENCE, env=self.env)
            self.assertEqual(put.stdout.decode(), digest(content('/big')), put.stderr.decode())
        self.each(check)

    def test_curl_small_and_head(self):
        def check(flags, url, _):
            for size in (0, 1, 16383, 16384, 16385, 65535, 65536):
                path = os.path.join(self.work, 'small')
                with open(path, 'wb') as f:
                    f.write(content('/big')[:size])
                self.assertEqual(self.curl(*flags, '--data-binary', f'@{path}', f'{url}/post').decode(), digest(content('/big')[:size]), size)
            head = self.curl(*flags, '-I', f'{url}/7').decode().lower()
            self.assertRegex(head, r'^http/2 200')
            self.assertIn(f'content-length: {7 * 317}', head)
        self.each(check)

    def test_curl_many_uploads(self):
        def check(flags, url, tls):
            for path in self.curl_many(flags, url, 5, tls, '--data-binary', f'@{self.big}'):
                self.assertEqual(slurp(path), digest(content('/big')))
        self.each(check)

    def test_nghttp(self):
        def check(_, url, tls):
            done = run('nghttp', '-s', '-n', *(f'{url}/{i}' for i in range(1, 51)), env=self.env)
            rows = re.findall(r'^ *\d+ .* (\d{3}) +([\d.]+[KMG]?) (/\d+)$', done.stdout.decode(), re.M)
            self.assertEqual(sorted(row[2] for row in rows), sorted(f'/{i}' for i in range(1, 51)), done.stdout.decode() + done.stderr.decode())
            self.assertEqual({row[0] for row in rows}, {'200'})
            done = run('nghttp', '-d', self.big, f'{url}/post', env=self.env)
            self.assertEqual(done.stdout.decode(), digest(content('/big')), done.stderr.decode())
        self.each(check)


class BeforeHttp1(Interop, unittest.TestCase):
    make, protocol = Http1, None


class BeforeHttp2(Interop, unittest.TestCase):
    make, protocol = Http2, 'kubernetes.io/h2c'

    def test_nghttpd(self):
        """Another server's HTTP/2 behind us."""
        folder = tempfile.mkdtemp(dir=self.work)
        shutil.copy(self.big, os.path.join(folder, 'big'))
        with Nghttpd(folder) as upstream:
            objects = [CLASS] + service('up', [upstream.port], protocol='kubernetes.io/h2c') + [ingress('up', HOST, 'up')]
            with Gateway(objects) as gateway:
                for flags in (['--http2-prior-knowledge'], ['--http1.1']):
                    url = f'http://{HOST}:{gateway.http}'
                    with self.subTest(flags):
                        self.assertEqual(digest(self.curl(*flags, f'{url}/big')), digest(content('/big')))
                        self.assertEqual(digest(self.curl(*flags, '--data-binary', f'@{self.big}', f'{url}/echo')), digest(content('/big')))
                        self.assertEqual(self.curl(*flags, '-o', os.devnull, '-w', '%{http_code}', f'{url}/none'), b'404')


class Load(unittest.TestCase):
    def load(self, port, protocol):
        with Gateway([CLASS] + service('up', [port], protocol=protocol) + [ingress('up', HOST, 'up')]) as gateway:
            done = run('h2load', '-n', '3000', '-c', '4', '-m', '50', f'http://{HOST}:{gateway.http}/').stdout.decode()
            self.assertIn('3000 succeeded, 0 failed, 0 errored, 0 timeout', done)
            self.assertIn('status codes: 3000 2xx', done)

    def test_before_http1(self):
        with Origin() as upstream:
            self.load(upstream.ports[0], None)

    def test_before_http2(self):
        with tempfile.TemporaryDirectory(prefix='sluice-interop.') as folder:
            with open(os.path.join(folder, 'index.html'), 'w') as f:
                f.write('here\n')
            with Nghttpd(folder) as upstream:
                self.load(upstream.port, 'kubernetes.io/h2c')


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
