#!/usr/bin/env python3
"""gRPC through the gateway: tests/grpc as client and as server (appProtocol grpc), by prior knowledge and by TLS. Each kind of call is a test at each listener: unary, the
three kinds of streams, metadata, errors in trailers, large messages, cancellation, deadlines, health. What the gateway answers itself has a grpc-status."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, Gateway, end_processes, ingress, make_certificate, service, tls_secret  # noqa: E402
from lib.go_tools import go_tool  # noqa: E402
from lib.raw_h2 import Client  # noqa: E402

HOST = 'grpc.example'
PLAIN = {'sluice.dev/ssl-redirect': 'false'}


class Server:
    """tests/grpc serve."""

    def __init__(self, *flags):
        self.proc = subprocess.Popen([go_tool('grpc'), 'serve', '127.0.0.1:0', *flags], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.port = int(self.proc.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        end_processes(self.proc)
        self.proc.stdout.close()


def client(command, port, *args, host=HOST, ca=None):
    flags = ['-authority', host] + (['-ca', ca] if ca else [])
    return subprocess.run([go_tool('grpc'), command, f'127.0.0.1:{port}', *flags, *args], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20 * PATIENCE)


class Grpc(unittest.TestCase):
    passed = failed = 0

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix='sluice-grpc.')
        cls.certificate = make_certificate(cls.work, HOST)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work, ignore_errors=True)

    def objects(self, *ports, protocol='grpc'):
        return ([CLASS, tls_secret('cert', *self.certificate)] + service('grpc', ports, protocol=protocol) + service('none', [], protocol=protocol)
                + [ingress('grpc', HOST, 'grpc', tls='cert', annotations=PLAIN), ingress('none', 'none.example', 'none'),
                   ingress('part', 'part.example', 'grpc', path='/sluice.test.Echo', annotations=PLAIN)])

    def check(self, what, port, ca=None):
        done = client('check', port, ca=ca)
        lines = done.stdout.splitlines()
        bad = [line for line in lines if line.startswith('FAIL')]
        good = sum(line.startswith('ok ') for line in lines)
        for line in bad:
            print(f'FAIL: {what} {line[5:]}', flush=True)
        print(f'{what}: {good} passed, {len(bad)} failed', flush=True)
        Grpc.passed += good
        Grpc.failed += len(bad)
        self.assertEqual(bad, [])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_kind_of_call(self):
        for protocol in ('grpc', 'kubernetes.io/h2c'):
            with Server() as server, Gateway(self.objects(server.port, protocol=protocol), https=True) as gateway:
                for what, port, ca in ((f'{protocol}, cleartext', gateway.http, None), (f'{protocol}, TLS', gateway.https, self.certificate[0])):
                    with self.subTest(what):
                        self.check(what, port, ca)

    def test_a_server_of_few_streams(self):
        """What it does not take on one connection goes to another, or waits."""
        with Server('-streams', '5') as server, Gateway(self.objects(server.port)) as gateway:
            self.check('5 streams a connection', gateway.http)

    def test_answers_of_the_gateway(self):
        with Server() as server, Gateway(self.objects(server.port), https=True) as gateway:
            for what, host, method, code in (
                    ('no such host', 'other.example', '/sluice.test.Echo/Unary', 'Unimplemented'),
                    ('no such path', 'part.example', '/another.Service/Method', 'Unimplemented'),
                    ('no endpoints', 'none.example', '/sluice.test.Echo/Unary', 'Unavailable'),
                    ('all is well', 'part.example', '/sluice.test.Echo/Unary', 'OK')):
                with self.subTest(what):
                    done = client('call', gateway.http, method, host=host)
                    self.assertEqual(done.stdout.split(' ')[0].strip(), code, done.stdout + done.stderr)

    def test_answers_of_the_gateway_on_the_wire(self):
        """Not what a client makes of a status of HTTP: 200, the content type of gRPC and a grpc-status, whichever way it ends."""
        with Server() as server, Gateway(self.objects(server.port)) as gateway, Client(gateway.http) as conn:
            for host, path, code in (('other.example', '/a.B/C', b'12'), ('none.example', '/a.B/C', b'14')):
                with self.subTest(host):
                    answer = conn.request(path, host, 'POST', [('content-type', 'application/grpc'), ('te', 'trailers')], b'\0\0\0\0\0')
                    self.assertTrue(answer.ended, str(answer))
                    self.assertEqual(answer.status, 200, answer.fields)
                    self.assertTrue(answer.all(b'content-type')[0].startswith(b'application/grpc'), answer.fields)
                    self.assertEqual(answer.all(b'grpc-status') + [v for n, v in answer.trailers if n == b'grpc-status'], [code])
                    self.assertEqual(answer.body, b'')
            # Who does not speak gRPC gets what HTTP says.
            self.assertEqual(conn.request('/a.B/C', 'other.example').status, 404)

    def test_a_server_that_is_gone(self):
        with Server() as server:
            port = server.port
        with Gateway(self.objects(port)) as gateway:
            done = client('call', gateway.http, '/sluice.test.Echo/Unary')
            self.assertEqual(done.stdout.split(' ')[0], 'Unavailable', done.stdout + done.stderr)

    def test_calls_survive_a_change(self):
        """Objects change while calls are under way, and while new ones begin."""
        with Server() as server, Gateway(self.objects(server.port)) as gateway:
            calls = subprocess.Popen([go_tool('grpc'), 'check', f'127.0.0.1:{gateway.http}', '-authority', HOST], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
            for i in range(1000):
                gateway.write('more.json', service('more', [server.port]) + [ingress('more', f'more{i}.example', 'more')])
                gateway.until(lambda i=i: gateway.get('/', f'more{i}.example')[0] != 404, what='the change is there')
                if calls.poll() is not None:
                    break
            out = calls.communicate()[0]
            self.assertEqual(calls.returncode, 0, out)


if __name__ == '__main__':
    done = unittest.main(verbosity=2, exit=False).result
    # Each kind of call is a test of its own, and so is each test that is not made of them.
    wrong = len(done.errors) + len(done.failures)
    print(f'{Grpc.passed + max(0, done.testsRun - wrong)} passed, {max(Grpc.failed, wrong)} failed', flush=True)
    sys.exit(0 if done.wasSuccessful() and Grpc.passed else 1)
