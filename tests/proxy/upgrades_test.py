#!/usr/bin/env python3
"""Which upgrades an Ingress and a Route's rule allow, and how a gRPC match finds its rule: from the objects to the answers, over HTTP/1.1."""
import os
import socket
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, Gateway, ingress, route, service  # noqa: E402

REFUSED = 400  # upgrade_refused in docs/reference/reasons.md


class Echo:
    """Switches to whatever protocol is asked for and sends back what comes then; answers anything else with its own name."""

    def __init__(self, name):
        self.name = name
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            client.settimeout(PATIENCE)
            head = b''
            while b'\r\n\r\n' not in head:
                got = client.recv(65536)
                if not got:
                    return
                head += got
            head, _, rest = head.partition(b'\r\n\r\n')
            asked = [line.split(b':', 1)[1].strip() for line in head.split(b'\r\n') if line.lower().startswith(b'upgrade:')]
            if not asked:
                client.sendall(f'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(self.name)}\r\n\r\n{self.name}'.encode())
                return
            client.sendall(b'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ' + asked[0] + b'\r\n\r\n' + rest)
            while got := client.recv(65536):
                client.sendall(got)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()


class Upgrades(unittest.TestCase):
    def upgrade(self, gateway, host, protocol, path='/'):
        """The status, and for 101 whether bytes come back."""
        with gateway.connect() as s:
            s.settimeout(PATIENCE)
            s.sendall(f'GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n'.encode())
            head = b''
            while b'\r\n\r\n' not in head:
                got = s.recv(65536)
                self.assertTrue(got, f'closed inside {head}')
                head += got
            status = int(head.split()[1])
            if status == 101:
                s.sendall(b'to and fro')
                back = head.partition(b'\r\n\r\n')[2]
                while len(back) < 10:
                    got = s.recv(65536)
                    self.assertTrue(got, 'the tunnel was closed')
                    back += got
                self.assertEqual(back, b'to and fro')
            return status

    def test_what_objects_allow(self):
        backend = [{'name': 'echo', 'port': 80}]
        rule = lambda path, **more: {'matches': [{'path': {'value': path}}], 'backendRefs': backend, **more}
        own = lambda value: {'sluice.dev/upgrades': value}
        with Echo('echo') as echo:
            objects = [CLASS, *service('echo', [echo.port]), ingress('standard', 'standard.example', 'echo'), ingress('none', 'none.example', 'echo', annotations=own('')),
                       ingress('own', 'own.example', 'echo', annotations=own('X-Shell')), ingress('wrong', 'wrong.example', 'echo', annotations=own('websocket, h2c')),
                       route('r', ['route.example'], [rule('/standard'), rule('/none', upgrades=[]), rule('/own', upgrades=['x-shell']), rule('/wrong', upgrades=['HTTP2'])])]
            with Gateway(objects) as gw:
                gw.until(lambda: gw.get('/standard', host='route.example')[0] == 200, what='the objects are served')
                for host, path, websocket, shell in (('standard.example', '/', 101, REFUSED), ('none.example', '/', REFUSED, REFUSED), ('own.example', '/', REFUSED, 101),
                                                     ('wrong.example', '/', REFUSED, REFUSED), ('route.example', '/standard', 101, REFUSED), ('route.example', '/none', REFUSED, REFUSED),
                                                     ('route.example', '/own', REFUSED, 101), ('route.example', '/wrong', 500, REFUSED)):
                    with self.subTest(host=host, path=path):
                        self.assertEqual(self.upgrade(gw, host, 'websocket', path), websocket)
                        self.assertEqual(self.upgrade(gw, host, 'WebSocket', path), websocket, 'names are compared without case (RFC 9110 7.8)')
                        self.assertEqual(self.upgrade(gw, host, 'x-shell', path), shell)

    def test_grpc_matches(self):
        to = lambda name: [{'name': name, 'port': 80}]
        with Echo('add') as add, Echo('cart') as cart, Echo('get') as get, Echo('rest') as rest:
            objects = [CLASS, *(o for e in (add, cart, get, rest) for o in service(e.name, [e.port])), route('r', ['grpc.example'], [
                {'matches': [{'grpc': {'service': 'shop.v1.Cart', 'method': 'Add'}}], 'backendRefs': to('add')},
                {'matches': [{'grpc': {'service': 'shop.v1.Cart'}}], 'backendRefs': to('cart')},
                {'matches': [{'grpc': {'type': 'RegularExpression', 'method': 'Get.+|List'}, 'method': 'POST'}], 'backendRefs': to('get')},
                {'backendRefs': to('rest')}])]
            with Gateway(objects) as gw:
                gw.until(lambda: gw.get('/', host='grpc.example')[0] == 200, what='the Route is served')
                for path, method, name in (('/shop.v1.Cart/Add', 'POST', 'add'), ('/shop.v1.Cart/Add', 'GET', 'add'), ('/shop.v1.Cart/add', 'POST', 'cart'),
                                           ('/shop.v1.Cart/Remove', 'POST', 'cart'), ('/shop.v1.CartX/Add', 'POST', 'rest'), ('/shop.v1.Order/GetAll', 'POST', 'get'),
                                           ('/shop.v1.Order/List', 'POST', 'get'), ('/shop.v1.Order/Lists', 'POST', 'rest'), ('/shop.v1.Order/List', 'GET', 'rest'),
                                           ('/List', 'POST', 'rest')):
                    with self.subTest(path=path, method=method):
                        status, _, body = gw.get(path, host='grpc.example', method=method)
                        self.assertEqual((status, body.decode()), (200, name))


if __name__ == '__main__':
    unittest.main(verbosity=2)
