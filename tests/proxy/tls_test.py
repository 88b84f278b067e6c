#!/usr/bin/env python3
"""TLS at the wire: which hosts a connection speaks for (RFC 9110 15.5.20); certificates whose Secret broke."""
import base64
import os
import signal
import socket
import ssl
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, Gateway, Origin, ingress, make_certificate, read_answer, service, slurp, tls_secret  # noqa: E402


def shown(port, name):
    """The certificate (DER) that is served for a name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with context.wrap_socket(socket.create_connection(('127.0.0.1', port), timeout=PATIENCE), server_hostname=name) as s:
        return s.getpeercert(True)


class LastGood(unittest.TestCase):
    """A Secret that broke leaves its last good certificate in use, whoever restarts."""

    def test_over_restarts(self):
        with tempfile.TemporaryDirectory(prefix='sluice-test.') as work, Origin(1) as origin:
            cert, key = make_certificate(work, 'a.example')
            good, broken = tls_secret('a-cert', cert, key), tls_secret('a-cert', cert, key)
            broken['data']['tls.key'] = base64.b64encode(b'no key').decode()
            expected = ssl.PEM_cert_to_DER_cert(slurp(cert))
            objects = [CLASS] + service('web', origin.ports) + [ingress('a', 'a.example', 'web', tls='a-cert')]
            gw = Gateway(objects, https=True)
            try:
                gw.write('secret.json', [good])
                gw.until(lambda: shown(gw.https, 'a.example') == expected, what='the certificate')
                gw.until(lambda: 'sluice_certificates_last_good 0' in gw.metrics(), what='nothing kept')
                gw.write('secret.json', [broken])
                gw.until(lambda: 'sluice_certificates_last_good 1' in gw.metrics(), what='one kept')
                self.assertEqual(shown(gw.https, 'a.example'), expected)
                for worker in gw.pids('worker'):
                    os.kill(worker, signal.SIGKILL)
                    gw.until(lambda: (now := gw.pids('worker')) and worker not in now, what='another worker')
                self.assertEqual(shown(gw.https, 'a.example'), expected, 'after a crash of the worker')
                for agent in gw.pids('agent'):
                    os.kill(agent, signal.SIGKILL)
                gw.until(lambda: 'sluice_certificates_last_good 1' in gw.metrics(), what='another agent')
                self.assertEqual(shown(gw.https, 'a.example'), expected, 'after a crash of the agent')
                gw.until(lambda: os.path.exists(os.path.join(gw.state, 'last-good', 'manifest')), what='state on disk')
                for turn in range(2):
                    gw.stop(keep_state=True)  # which waits for the disk
                    gw.start()
                    gw.until(lambda: 'sluice_control_plane_connected 1' in gw.metrics(), what='both planes')
                    self.assertEqual(shown(gw.https, 'a.example'), expected, f'after restart {turn}')
                    gw.until(lambda: 'sluice_certificates_last_good 1' in gw.metrics(), what='kept from disk')
                self.assertIn('its last good form stays in use', gw.tail(400))
                # A good Secret again, and a removal.
                gw.write('secret.json', [good])
                gw.until(lambda: 'sluice_certificates_last_good 0' in gw.metrics(), what='good again')
                gw.remove('secret.json')
                gw.write('objects.json', objects[:-1])
                gw.until(lambda: shown(gw.https, 'a.example') != expected, what='nobody names it any more')
            finally:
                gw.stop()


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
        return context.wrap_socket(socket.create_connection(('127.0.0.1', self.gw.https), timeout=PATIENCE), server_hostname=sni)

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
