#!/usr/bin/env python3
"""Libraries that others wrote, as clients and as servers behind the gateway, in cleartext and by TLS: gRPC's C core (tests/grpc/python_peer.py) and a WebSocket library
(tests/lib/websockets_peer.py), both run by Debian's python3, whose packages they are. Each of their cases is a test."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, Gateway, end_processes, ingress, make_certificate, service, tls_secret  # noqa: E402

PYTHON = '/usr/bin/python3'
TESTS = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))
PLAIN = {'sluice.dev/ssl-redirect': 'false'}


class Libraries(unittest.TestCase):
    passed = failed = 0

    def check(self, program, host, **backend):
        program, work = os.path.join(TESTS, program), tempfile.mkdtemp(prefix='sluice-libraries.')
        self.addCleanup(shutil.rmtree, work, True)
        certificate = make_certificate(work, host)
        server = subprocess.Popen([PYTHON, program, 'serve'], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(server.stdout.close)
        self.addCleanup(end_processes, server)
        objects = [CLASS, tls_secret('cert', *certificate)] + service('peer', [int(server.stdout.readline())], **backend) + [ingress('peer', host, 'peer', tls='cert', annotations=PLAIN)]
        with Gateway(objects, https=True) as gateway:
            for what, port, ca in (('cleartext', gateway.http, []), ('TLS', gateway.https, [certificate[0]])):
                with self.subTest(what):
                    done = subprocess.run([PYTHON, program, 'check', f'127.0.0.1:{port}', host, *ca], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20 * PATIENCE)
                    lines = done.stdout.splitlines()
                    bad = [line for line in lines if not line.startswith('ok ')]
                    print(f'{os.path.basename(program)}, {what}: {len(lines) - len(bad)} of {len(lines)}', *bad, sep='\n', flush=True)
                    Libraries.passed += len(lines) - len(bad)
                    Libraries.failed += len(bad)
                    self.assertEqual((done.returncode, bad), (0, []), done.stdout + done.stderr)
                    self.assertTrue(lines)

    def test_grpc(self):
        self.check('grpc/python_peer.py', 'grpc.example', protocol='grpc')

    def test_websocket(self):
        self.check('lib/websockets_peer.py', 'ws.example')


if __name__ == '__main__':
    done = unittest.main(verbosity=2, exit=False).result
    wrong = len(done.errors) + len(done.failures)
    print(f'{Libraries.passed} passed, {max(Libraries.failed, wrong)} failed', flush=True)
    sys.exit(0 if done.wasSuccessful() and Libraries.passed else 1)
