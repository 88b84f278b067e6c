#!/usr/bin/env python3
"""An answer on an HTTP/2 connection whose other streams are silent: its last bytes leave at once, whoever the upstream is and however the answer ends."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from drills.protocols import GRPC, GrpcEcho, message, protocol  # noqa: E402
from lib.gateway import CLASS, Gateway, Origin, ingress, route, service  # noqa: E402
from lib.raw_h2 import Client, request_fields  # noqa: E402


class LoneAnswer(unittest.TestCase):
    def check(self, objects, wanted, host='a.example', more=(), body=None):
        """wanted(Stream), while a gRPC stream that says nothing is open beside it."""
        with GrpcEcho() as quiet, Gateway([CLASS, ingress('quiet', 'quiet.example', 'quiet')] + protocol(service('quiet', [quiet.port]), 'kubernetes.io/h2c') + objects) as gw:
            gw.until(lambda: gw.get('/', host=host)[0] == gw.get('/', host='quiet.example')[0] == 200, what='the objects are served')
            with Client(gw.http) as conn:
                silent = conn.open(request_fields('/quiet.Service/Stream', 'quiet.example', 'POST', GRPC), False)
                self.assertTrue(conn.until(lambda: silent.fields is not None), 'the head of the silent stream')
                for _ in range(3):  # the first one may find a new upstream connection
                    got = conn.request('/', host, 'POST' if body else 'GET', more, body)
                    self.assertTrue(wanted(got), str(got))
                self.assertFalse(silent.over, str(silent))

    def test_http1_upstream(self):
        with Origin(1) as origin:
            self.check(service('web', origin.ports) + [ingress('web', 'a.example', 'web')], lambda got: got.status == 200 and got.body == b'0 1 0\n')

    def test_http2_upstream(self):
        with GrpcEcho() as echo:
            self.check(protocol(service('web', [echo.port]), 'kubernetes.io/h2c') + [ingress('web', 'a.example', 'web')], lambda got: got.status == 200 and got.body == b'ok')

    def test_trailers(self):
        words = message(b'words')
        with GrpcEcho() as echo:
            self.check(protocol(service('web', [echo.port]), 'kubernetes.io/h2c') + [ingress('web', 'a.example', 'web')],
                       lambda got: got.status == 200 and got.body == words and (b'grpc-status', b'0') in got.trailers, more=GRPC, body=words)

    def test_answer_of_our_own(self):
        direct = route('r', ['a.example'], [{'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': 'here'}}]}])
        self.check([direct], lambda got: got.status == 200 and got.body == b'here')


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
