#!/usr/bin/env python3
"""TLS at the wire: which hosts a connection speaks for (RFC 9110 15.5.20)."""
import os
import socket
import ssl
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, Gateway, Origin, ingress, make_certificate, read_answer, service, tls_secret  # noqa: E402


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix='sluice-test.')
        cls.origin = Origin(1)
        objects = [CLASS] + service('web', cls.origin.ports)
        for name in ('a', 'b'):
            objects.append(tls_secret(f'{name}-cert', *make_certificate(cls.work.name, f'{name}.example')))
            objects.append(ingress(name, f'{name}.example', 'web', tls=f'{name}-cert'))
        objects += [ingress('also-a', 'also-a.example', 'web', tls='a-cert'), ingress('plain', 'plain.example', 'web')]
        cls.gw = Gateway(objects, https=True)

    @classmethod
    def tearDownClass(cls):
        cls.gw.stop()
        cls.origin.stop()
        cls.work.cleanup()

    def connect(self, sni):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(socket.create_connection(('127.0.0.1', self.gw.https), timeout=10), server_hostname=sni)

    def test_hosts_of_other_settings_are_misdirected(self):
        for sni, host, expected in [
                ('a.example', 'a.example', 200), ('a.example', 'A.example.', 200), ('a.example', 'also-a.example', 200), ('a.example', 'b.example', 421),
                ('b.example', 'a.example', 421), ('a.example', 'plain.example', 421), ('plain.example', 'plain.example', 200), ('plain.example', 'a.example', 421),
                (None, 'a.example', 421), (None, 'plain.example', 200), ('a.example', 'nobody.example', 421), ('nobody.example', 'nobody.example', 404)]:
            with self.subTest(sni=sni, host=host), self.connect(sni) as s:
                s.sendall(f'GET / HTTP/1.1\r\nHost: {host}\r\n\r\n'.encode())
                status, _, body = read_answer(s)
                self.assertEqual(status, expected)
                if status == 421:
                    self.assertIn(b'"misdirected"', body)

    def test_the_connection_goes_on(self):
        with self.connect('a.example') as s:
            for host, expected in [('a.example', 200), ('b.example', 421), ('a.example', 200)]:
                s.sendall(f'GET / HTTP/1.1\r\nHost: {host}\r\n\r\n'.encode())
                self.assertEqual(read_answer(s)[0], expected)

    def test_absolute_form_counts(self):
        with self.connect('a.example') as s:
            s.sendall(b'GET https://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n')
            self.assertEqual(read_answer(s)[0], 421)

    def test_plain_connections_speak_for_all(self):
        self.assertEqual(self.gw.get(host='plain.example')[0], 200)
        self.assertEqual(self.gw.get(host='a.example')[0], 308)


if __name__ == '__main__':
    unittest.main(verbosity=2)
