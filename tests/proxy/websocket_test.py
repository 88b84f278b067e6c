#!/usr/bin/env python3
"""WebSocket through the gateway: by Upgrade in HTTP/1.1 and, where an HTTP/2 client asks by extended CONNECT (RFC 8441), on a stream. Client and server are our own
(tests/lib/websocket.py)."""
import os
import shutil
import socket
import ssl
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib import raw_h2, websocket  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, ingress, make_certificate, service, tls_secret  # noqa: E402
from lib.websocket import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, EchoServer, Frames, WebSocket, frame  # noqa: E402

HOST = 'ws.example'
PLAIN = {'sluice.dev/ssl-redirect': 'false'}


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix='sluice-websocket.')
        cls.addClassCleanup(shutil.rmtree, cls.work, True)
        cls.server = cls.enterClassContext(EchoServer())
        certificate = make_certificate(cls.work, HOST)
        cls.objects = [CLASS, tls_secret('cert', *certificate)] + service('ws', [cls.server.port]) + [ingress('ws', HOST, 'ws', tls='cert', annotations=PLAIN)]
        cls.gateway = cls.enterClassContext(Gateway(cls.objects, https=True))

    def setUp(self):
        self.gateway.until(lambda: not self.server.open, what='the connections of the test before are gone')
        self.server.heads.clear()

    def tearDown(self):
        self.assertEqual(self.server.errors, [])

    def change(self, number):
        """Other objects; it is done when a worker serves them."""
        self.gateway.write('more.json', service('more', [self.server.port]) + [ingress('more', f'more{number}.example', 'more')])
        self.gateway.until(lambda: self.gateway.get('/', f'more{number}.example')[0] == 403, what='the change is there')


class Upgrade(Base):
    def connect(self, path='/', more=(), tls=False):
        sock = socket.create_connection(('127.0.0.1', self.gateway.https if tls else self.gateway.http), timeout=PATIENCE)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(['http/1.1'])
            sock = context.wrap_socket(sock, server_hostname=HOST)
        ws = WebSocket(sock, HOST, path, more)
        self.addCleanup(ws.close)
        return ws

    def test_echo(self):
        for tls in (False, True):
            with self.subTest(tls=tls):
                ws = self.connect(tls=tls)
                self.assertTrue(ws.good, (ws.status, ws.fields))
                for payload in (b'', b'a', b'x' * 125, b'x' * 126, b'x' * 65535, b'x' * 65536):
                    self.assertTrue(ws.echo(payload), len(payload))
                self.assertTrue(ws.echo('\u00e9'.encode(), TEXT))
                ws.send(CLOSE, struct.pack('>H', 1000))
                self.assertEqual(ws.frames.message(), (CLOSE, struct.pack('>H', 1000)))
                self.assertTrue(ws.frames.ended())

    def test_what_the_server_is_asked(self):
        ws = self.connect('/a?b=c', [('Origin', 'http://ws.example'), ('Cookie', 'a=b'), ('Sec-WebSocket-Extensions', 'permessage-deflate')])
        self.assertTrue(ws.good)
        line, fields = self.server.heads[0]
        self.assertEqual(line, 'GET /a?b=c HTTP/1.1')
        self.assertEqual({name: fields.get(name) for name in ('origin', 'cookie', 'sec-websocket-extensions', 'sec-websocket-key', 'sec-websocket-version', 'host')},
                         {'origin': 'http://ws.example', 'cookie': 'a=b', 'sec-websocket-extensions': 'permessage-deflate', 'sec-websocket-key': ws.key.decode(),
                          'sec-websocket-version': '13', 'host': HOST})
        self.assertIn('upgrade', fields['connection'].lower())

    def test_subprotocols(self):
        ws = self.connect(more=[('Sec-WebSocket-Protocol', 'chat, superchat')])
        self.assertTrue(ws.good)
        self.assertEqual(ws.fields['sec-websocket-protocol'], 'superchat')

    def test_fragments_and_control_frames(self):
        ws = self.connect()
        ws.send(TEXT, b'one ', final=False)
        ws.send(PING, b'are you there')  # between fragments
        ws.send(CONTINUATION, b'two')
        self.assertEqual(ws.frames.message(), (PONG, b'are you there'))
        self.assertEqual(ws.frames.message(), (TEXT, b'one two'))

    def test_large_frames(self):
        ws = self.connect()
        payload = os.urandom(1 << 16) * 64  # 4 MiB
        self.assertTrue(ws.echo(payload))
        self.assertTrue(ws.echo(b'and a small one', TEXT))

    def test_bytes_behind_the_handshake(self):
        """Both ways: the server's first frame comes with its 101, the client's with its request."""
        ws = self.connect('/greet')
        self.assertEqual(ws.frames.message(), (TEXT, b'hello'))
        with socket.create_connection(('127.0.0.1', self.gateway.http), timeout=PATIENCE) as sock:
            sock.sendall(b'GET / HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n' + frame(TEXT, b'early'))
            status, _, rest = websocket.read_head(sock)
            self.assertEqual(status, 101)
            self.assertEqual(Frames(sock.recv, False, rest).message(), (TEXT, b'early'))

    def test_half_close(self):
        """The client's side ends; what the server says after that arrives."""
        ws = self.connect('/drain')
        ws.sock.sendall(b'x' * 100000)
        ws.sock.shutdown(socket.SHUT_WR)
        self.assertEqual(ws.frames.message(), (TEXT, b'100000 bytes'))
        self.assertTrue(ws.frames.ended())

    def test_the_server_goes_first(self):
        ws = self.connect('/bye')
        self.assertEqual(ws.frames.message(), (CLOSE, struct.pack('>H', 1001)))
        self.assertTrue(ws.frames.ended())
        ws = self.connect('/cut')
        ws.send(TEXT, b'x')
        self.assertTrue(ws.frames.ended())

    def test_the_client_is_gone(self):
        ws = self.connect('/drain')
        self.assertTrue(ws.good and self.server.open)
        ws.close()
        self.gateway.until(lambda: not self.server.open, what='the server hears of it')

    def test_refused_by_the_server(self):
        ws = self.connect('/refuse')
        self.assertEqual(ws.status, 403)
        self.assertEqual(ws.frames.take(2), b'no')

    def test_a_wrong_answer_is_the_clients_to_judge(self):
        ws = self.connect('/wrong')
        self.assertFalse(ws.good)

    def test_no_upgrade_without_connection(self):
        """Upgrade is an option of the connection or nothing (RFC 9110 7.8)."""
        with socket.create_connection(('127.0.0.1', self.gateway.http), timeout=PATIENCE) as sock:
            sock.sendall(b'GET / HTTP/1.1\r\nHost: ws.example\r\nUpgrade: websocket\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n')
            self.assertNotEqual(websocket.read_head(sock)[0], 101)

    def test_survives_changes(self):
        """Objects change, the route's own among them; an open connection goes on."""
        ws = self.connect()
        self.assertTrue(ws.echo(b'before'))
        for i in range(5):
            self.change(i)
            self.assertTrue(ws.echo(b'%d' % i))
        # Its own route goes: new ones are not served, the old one is.
        self.addCleanup(self.restore)
        self.gateway.write('objects.json', [o for o in self.objects if o['kind'] != 'Ingress'])
        self.gateway.until(lambda: self.gateway.get('/', HOST)[0] == 404, what='the route is gone')
        self.assertTrue(ws.echo(b'after'))

    def restore(self):
        self.gateway.write('objects.json', self.objects)
        self.gateway.until(lambda: self.gateway.get('/', HOST)[0] == 403, what='the route is back')

    def test_many(self):
        sockets = [self.connect() for _ in range(100)]
        for i, ws in enumerate(sockets):
            self.assertTrue(ws.echo(b'%d' % i))


class Tunnel:
    """A WebSocket on a stream of an HTTP/2 connection."""

    def __init__(self, conn, path='/', more=(), host=HOST):
        self.conn, self.at = conn, 0
        fields = [(b':method', b'CONNECT'), (b':protocol', b'websocket'), (b':scheme', b'http'), (b':path', path.encode()), (b':authority', host.encode()), (b'sec-websocket-version', b'13')]
        self.stream = conn.open(fields + [(n.encode(), v.encode()) for n, v in more], False)
        conn.until(lambda: self.stream.fields is not None or self.stream.over)
        self.frames = Frames(self.read, False)

    def read(self, _):
        self.conn.until(lambda: len(self.stream.body) > self.at or self.stream.over)
        got, self.at = self.stream.body[self.at:], len(self.stream.body)
        return got

    def send(self, opcode, payload=b'', end=False):
        self.conn.send_body(self.stream, frame(opcode, payload), end)

    def echo(self, payload, opcode=BINARY):
        self.send(opcode, payload)
        return self.frames.message() == (opcode, payload)


class ExtendedConnect(Base):
    def connect(self, tls=False):
        conn = raw_h2.Client(self.gateway.https if tls else self.gateway.http, tls=HOST if tls else None)
        self.addCleanup(conn.close)
        conn.ready()
        return conn

    def test_it_is_offered(self):
        """RFC 8441 3: a client may ask only where SETTINGS say so."""
        for tls in (False, True):
            with self.subTest(tls=tls):
                self.assertEqual(self.connect(tls).settings.get(raw_h2.ENABLE_CONNECT_PROTOCOL), 1)

    def test_echo(self):
        conn = self.connect()
        ws = Tunnel(conn, '/a?b=c', [('sec-websocket-protocol', 'chat, superchat'), ('origin', 'http://ws.example')])
        self.assertEqual(ws.stream.status, 200, str(ws.stream))
        self.assertEqual(ws.stream.all(b'sec-websocket-protocol'), [b'superchat'])
        for payload in (b'', b'a', b'x' * 126, b'x' * 65536, os.urandom(1000) * 300):
            self.assertTrue(ws.echo(payload), len(payload))
        line, fields = self.server.heads[0]
        self.assertEqual(line, 'GET /a?b=c HTTP/1.1')
        self.assertEqual((fields['upgrade'].lower(), fields['host'], fields['origin']), ('websocket', HOST, 'http://ws.example'))
        ws.send(CLOSE, struct.pack('>H', 1000), True)
        self.assertEqual(ws.frames.message(), (CLOSE, struct.pack('>H', 1000)))
        self.assertTrue(ws.frames.ended())
        self.assertTrue(ws.stream.ended)

    def test_ordinary_requests_beside_it(self):
        conn = self.connect()
        ws = Tunnel(conn)
        for i in range(3):
            self.assertEqual(conn.request('/x', HOST).status, 403)
            self.assertTrue(ws.echo(b'%d' % i))

    def test_many_on_one_connection(self):
        conn = self.connect()
        tunnels = [Tunnel(conn) for _ in range(50)]
        for i, ws in enumerate(tunnels):
            self.assertTrue(ws.echo(b'%d' % i))

    def test_bytes_behind_the_handshake(self):
        ws = Tunnel(self.connect(), '/greet')
        self.assertEqual(ws.frames.message(), (TEXT, b'hello'))

    def test_half_close(self):
        """END_STREAM is what FIN is (5)."""
        ws = Tunnel(self.connect(), '/drain')
        ws.conn.send_body(ws.stream, b'x' * 100000, True)
        self.assertEqual(ws.frames.message(), (TEXT, b'100000 bytes'))
        self.assertTrue(ws.frames.ended())
        self.assertTrue(ws.stream.ended)

    def test_the_server_goes_first(self):
        ws = Tunnel(self.connect(), '/bye')
        self.assertEqual(ws.frames.message(), (CLOSE, struct.pack('>H', 1001)))
        self.assertTrue(ws.frames.ended())

    def test_reset_reaches_the_server(self):
        conn, before = self.connect(), len(self.server.open)
        ws = Tunnel(conn, '/drain')
        self.assertTrue(ws.stream.status == 200 and len(self.server.open) > before)
        conn.reset(ws.stream)
        # By FIN or by a reset of its own: it must not wait.
        self.gateway.until(lambda: len(self.server.open) == before, what='the server hears of it')
        self.assertEqual(conn.request('/x', HOST).status, 403)

    def test_refused(self):
        conn = self.connect()
        ws = Tunnel(conn, '/refuse')
        conn.finish(ws.stream)
        self.assertEqual((ws.stream.status, ws.stream.body), (403, b'no'))
        ws = Tunnel(conn, host='none.example')
        conn.finish(ws.stream)
        self.assertEqual(ws.stream.status, 404)

    def test_a_wrong_answer_is_no_tunnel(self):
        """The gateway has made the key, so it is the one who can tell."""
        conn = self.connect()
        ws = Tunnel(conn, '/wrong')
        conn.finish(ws.stream)
        self.assertEqual(ws.stream.status, 502)

    def test_survives_changes(self):
        ws = Tunnel(self.connect())
        for i in range(3):
            self.change(i)
            self.assertTrue(ws.echo(b'%d' % i))


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
