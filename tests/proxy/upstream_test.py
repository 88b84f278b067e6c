#!/usr/bin/env python3
"""Where requests go, end to end: TLS towards the endpoints of a Service (docs/decisions/0006), and Services of type ExternalName whose name is resolved."""
import http.server
import os
import shutil
import ssl
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, Gateway, ingress, make_certificate, service, slurp  # noqa: E402


class Backend:
    """Answers every GET with the name that the client sent in its handshake ("-" for none, "plain" without TLS) and the Host."""

    def __init__(self, certificate=None):
        names = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                sni = names[-1] if names else 'plain'
                body = f'{sni or "-"} {self.headers["Host"]}'.encode()
                self.send_response(200)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.server.handle_error = lambda *_: None  # refused handshakes are what some tests are about
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            context.sni_callback = lambda _, name, __: names.append(name)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def https_service(name, port, annotations):
    objects = service(name, [port], port=443)
    objects[0]['metadata']['annotations'] = annotations
    objects[0]['spec']['ports'][0]['appProtocol'] = 'https'
    return objects


def config_map(name, ca):
    return {'apiVersion': 'v1', 'kind': 'ConfigMap', 'metadata': {'name': name, 'namespace': 'default'}, 'data': {'ca.crt': ca}}


class UpstreamTls(unittest.TestCase):
    """The certificate is its own authority, for api.default.svc."""

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix='sluice-upstream.')
        cls.own = make_certificate(cls.work, 'api.default.svc')
        cls.other = make_certificate(cls.work, 'other.example')

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.work, ignore_errors=True)

    def test_verification(self):
        prefix = 'sluice.dev/upstream-'
        cases = {
            # name: (annotations, status, reason or body)
            'api': ({prefix + 'ca-configmap': 'good'}, 200, 'api.default.svc api.example'),
            'wrong-name': ({prefix + 'ca-configmap': 'good'}, 502, 'upstream_tls_unverified'),
            'named': ({prefix + 'ca-configmap': 'good', prefix + 'certificate-name': 'api.default.svc'}, 200, 'named.default.svc named.example'),
            'sni': ({prefix + 'ca-configmap': 'good', prefix + 'sni': 'api.default.svc'}, 200, 'api.default.svc sni.example'),
            'wrong-ca': ({prefix + 'ca-configmap': 'wrong', prefix + 'sni': 'api.default.svc'}, 502, 'upstream_tls_unverified'),
            'system': ({prefix + 'sni': 'api.default.svc'}, 502, 'upstream_tls_unverified'),
            'skip': ({prefix + 'insecure-skip-verify': 'true'}, 200, 'skip.default.svc skip.example'),
            'no-ca': ({prefix + 'ca-secret': 'none', prefix + 'sni': 'api.default.svc'}, 500, 'backend_invalid'),
        }
        objects = [CLASS, config_map('good', slurp(self.own[0])), config_map('wrong', slurp(self.other[0]))]
        with Backend(self.own) as backend:
            for name, (annotations, _, _) in cases.items():
                objects += https_service(name, backend.port, annotations) + [ingress(name, f'{name}.example', name, port=443)]
            with Gateway(objects) as gw:
                for name, (_, status, what) in cases.items():
                    with self.subTest(name):
                        got, _, body = gw.get('/', host=f'{name}.example')
                        self.assertEqual(got, status, body)
                        self.assertIn(what, body.decode())
                # Another authority at run time: what was refused is served, and the other way round.
                objects = [config_map('wrong', slurp(self.own[0])) if o['metadata']['name'] == 'wrong' else o for o in objects]
                gw.write('objects.json', objects)
                gw.until(lambda: gw.get('/', host='wrong-ca.example')[0] == 200, what='the right authority is taken')
                self.assertIn('sluice_local_replies_total{reason="upstream_tls_unverified"}', gw.metrics())

    def test_what_speaks_no_tls_is_another_reason(self):
        with Backend() as backend, Gateway([CLASS] + https_service('plain', backend.port, {}) + [ingress('plain', 'plain.example', 'plain', port=443)]) as gw:
            status, _, body = gw.get('/', host='plain.example')
            self.assertEqual(status, 502)
            self.assertIn('upstream_tls_failed', body.decode())


def external(name, host, port):
    return [{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name, 'namespace': 'default'}, 'spec': {'type': 'ExternalName', 'externalName': host}},
            ingress(name, f'{name}.example', name, port=port)]


class ExternalName(unittest.TestCase):
    def test_localhost(self):
        with Backend() as backend:
            objects = [CLASS] + external('local', 'localhost', backend.port) + external('never', 'never.invalid', backend.port) + external('zero', '0.0.0.0', backend.port)
            # A folder of manifests may lead to loopback, as its EndpointSlices may.
            with Gateway(objects, config='allowExternalName: true') as gw:
                gw.until(lambda: gw.get('/', host='local.example')[0] == 200, what='the name is resolved')
                status, _, body = gw.get('/', host='local.example')
                self.assertEqual((status, body), (200, b'plain local.example'), 'the Host stays the client\'s')
                status, _, body = gw.get('/', host='never.example')
                self.assertEqual(status, 503)
                self.assertIn('name_not_resolved', body.decode())
                status, _, body = gw.get('/', host='zero.example')
                self.assertEqual(status, 503)
                self.assertIn('no_endpoints', body.decode())

    def test_off_unless_allowed(self):
        with Backend() as backend, Gateway([CLASS] + external('local', 'localhost', backend.port)) as gw:
            status, _, body = gw.get('/', host='local.example')
            self.assertEqual(status, 503)
            self.assertIn('backend_invalid', body.decode())


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
