#!/usr/bin/env python3
"""What operators use on a running gateway: `sluice status`, `table`, `dump` and `log-level` over the planes' unix sockets; the log level in every process, kept by
those to come; every line of the log is JSON with time, level, message and component; and nothing of all that holds a secret."""
import base64
import http.client
import json
import os
import re
import signal
import socket
import stat
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, SLOW, Gateway, Origin, ingress, make_certificate, route, service, sluice, slurp, tls_secret, until  # noqa: E402

TOKEN = 'Bearer do-not-print-this'


class Operator(unittest.TestCase):
    def setUp(self):
        self.origin = Origin(1)
        backend = [{'name': 'web', 'port': 80}]
        setter = {'type': 'RequestHeaderModifier', 'requestHeaderModifier': {'set': [{'name': 'Authorization', 'value': TOKEN}]}}
        self.gw = Gateway([CLASS] + service('web', self.origin.ports) + [
            ingress('web', 'a.example', 'web', tls='cert'), ingress('bad', 'b.example', 'absent'),
            route('api', ['api.example'], [{'name': 'one', 'matches': [{'path': {'type': 'PathPrefix', 'value': '/v1'}}], 'filters': [setter], 'backendRefs': backend}])],
            https=True, workers=2, args=['--log-level', 'info'])
        cert, self.key = make_certificate(self.gw.work, 'a.example')
        self.gw.write('secret.json', [tls_secret('cert', cert, self.key)])
        self.gw.until(lambda: 'sluice_certificate_not_after_seconds{' in self.gw.metrics(), what='the certificate is there')

    def tearDown(self):
        self.gw.stop()
        self.origin.stop()

    def ask(self, *words):
        code, out, wrong = sluice(*words, '--state', self.gw.state)
        self.assertEqual((code, wrong), (0, ''), words)
        return out

    def plane(self, name, *words):
        code, out, wrong = sluice(*words, '--json', '--socket', os.path.join(self.gw.state, f'{name}.sock'))
        self.assertEqual((code, wrong), (0, ''), words)
        return json.loads(out)

    def lines(self):
        return [json.loads(line) for line in self.gw.lines()]

    def dump(self):
        self.gw.proc.send_signal(signal.SIGUSR1)
        self.gw.get('/', host='nobody.example')

    def dumped(self, workers, what):
        """Waits until so many workers write what SIGUSR1 asks for: a line of level warning from each. Asked again and again: the signal may overtake the level."""
        before = len(self.lines())

        def seen():
            self.dump()
            return len({line['component'] for line in self.lines()[before:] if line['msg'] == 'dump'}) == workers
        until(seen, 60 * SLOW, what, self.gw.tail, pause=0.2)

    def replace(self, role):
        old = self.gw.pids(role)
        os.kill(old[0], signal.SIGKILL)
        self.gw.until(lambda: len(now := self.gw.pids(role)) == len(old) and old[0] not in now, what=f'another {role}')

    def test_status(self):
        self.gw.until(lambda: self.plane('control', 'status')['ready'], what='ready')
        self.gw.settled()
        control, data = self.plane('control', 'status'), self.plane('data', 'status')
        self.assertEqual((control['plane'], data['plane'], data['ready'], data['control_plane_connected']), ('control', 'data', True, True))
        self.assertEqual(control['generation'], control['acknowledged'])
        self.assertEqual(data['generation'], control['generation'])
        self.assertEqual((data['workers']['ready'], data['workers']['wanted'], data['workers']['restarted']), (2, 2, 0))
        self.gw.until(lambda: {one['pid'] for one in data['workers']['processes']} == set(self.gw.pids('worker')), what=f'those workers: {data["workers"]}')
        [problem] = control['problems']
        self.assertEqual((problem['object'], problem['reason'], problem['severity']), ('Ingress default/bad', 'BackendNotFound', 'error'))
        self.assertEqual(problem['field'], 'spec.rules[0].http.paths[0].backend.service.name')
        [certificate] = data['certificates']
        self.assertEqual((certificate['secret'], certificate['hosts'], certificate['last_good']), ('default/cert', ['a.example'], False))
        self.assertIn(certificate['days_left'], (29, 30))
        self.assertEqual({one['name']: one['port'] for one in data['listeners']}, {'http': self.gw.http, 'https': self.gw.https, 'admin': self.gw.admin})
        text = self.ask('status')
        for part in ('plane: control\n', 'plane: data\n', 'object: Ingress default/bad', 'secret: default/cert'):
            self.assertIn(part, text)
        os.kill(self.gw.pids('worker')[0], signal.SIGKILL)
        self.gw.until(lambda: self.plane('data', 'status')['workers']['restarted'] == 1, what='the worker was replaced')

    def test_table(self):
        [host] = self.plane('data', 'table', 'api.example/v1/users')['hosts']
        [one] = host['routes']
        self.assertEqual((host['host'], one['path'], one['match'], one['filters']), ('api.example', '/v1', 'prefix', ['RequestHeaders']))
        self.assertEqual(one['object'], {'kind': 'Route', 'namespace': 'default', 'name': 'api', 'rule': 'one', **({'generation': one['object']['generation']} if 'generation' in one['object'] else {})})
        [cluster] = one['action']['clusters']
        self.assertEqual((cluster['name'], cluster['object']['kind'], cluster['endpoints']), ('default/web/80', 'Service', [{'address': f'127.0.0.1:{self.origin.ports[0]}', 'draining': False}]))
        self.assertEqual([one['routes'] for one in self.plane('data', 'table', 'api.example/v2')['hosts']], [[]])
        self.assertEqual({one['host'] for one in self.plane('data', 'table')['hosts']}, {'a.example', 'b.example', 'api.example'})
        text = self.ask('table')
        self.assertRegex(text, r'(?m)^b\.example\n  prefix /  \(Ingress default/bad.*\)\n      -> nothing  weight 1  answers 503 service_not_found$')

    def test_sockets(self):
        for name in ('control', 'data'):
            path = os.path.join(self.gw.state, f'{name}.sock')
            self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)
            for request, status in ((b'GET /status HTTP/1.1\r\nHost: x\r\n\r\n', 200), (b'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n', 200), (b'DELETE /status HTTP/1.1\r\nHost: x\r\n\r\n', 405),
                                    (b'PUT /log-level?level=loud HTTP/1.1\r\nHost: x\r\n\r\n', 400), (b'GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n', 404)):
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(PATIENCE)
                    s.connect(path)
                    s.sendall(request)
                    answer = http.client.HTTPResponse(s)
                    answer.begin()
                    self.assertEqual(answer.status, status, (name, request))
        # Nothing of it is on the port.
        for path in ('/status', '/table', '/dump', '/log-level'):
            self.assertEqual(self.gw.get(path, host='admin', port=self.gw.admin)[0], 404)
        code, _, wrong = sluice('status', '--socket', os.path.join(self.gw.work, 'none.sock'))
        self.assertEqual((code, 'No such file' in wrong), (1, True))

    def test_nothing_says_a_secret(self):
        for level in ('debug', 'info'):
            self.ask('log-level', level)
            self.gw.get('/v1', host='api.example')
            self.dump()
        self.gw.write('secret.json', [tls_secret('cert', *make_certificate(self.gw.work, 'a.example'))])
        said = self.ask('status') + self.ask('table') + self.ask('dump') + slurp(self.gw.log_path)
        self.assertGreater(len(said), 5000)
        key = re.sub(r'-----.*-----|\s', '', slurp(self.key))
        for secret in (TOKEN, 'PRIVATE KEY', key[:40], key[-60:], base64.b64encode(slurp(self.key).encode()).decode()[40:90]):
            self.assertNotIn(secret, said)
        for part in json.loads('[' + self.ask('dump').replace('\n}\n{', '\n},\n{') + ']'):
            self.assertIn('sluice_', part['metrics'])
            self.assertGreater(len(part['arguments']), 3)

    def test_log_level(self):
        self.dumped(2, 'both workers write')
        self.assertEqual(self.ask('log-level', 'error'), 'plane: control\nlog_level: error\nplane: data\nlog_level: error\n')
        # Those that are started now begin with it: the master tells them; an agent says what it was told.
        for role in ('worker', 'agent'):
            self.replace(role)
        self.gw.until(lambda: self.plane('data', 'status')['workers']['ready'] == 2, what='all are ready')
        self.gw.until(lambda: self.plane('data', 'log-level')['log_level'] == 'error', what='the new agent has the level')
        # A new binary too.
        old = self.gw.pids('worker')
        self.gw.proc.send_signal(signal.SIGUSR2)
        self.gw.replaced('worker', old, 'the workers of the new binary')
        self.gw.until(lambda: self.plane('data', 'log-level')['log_level'] == 'error', what='its agent has the level')
        quiet = len(self.lines())
        self.dump()
        self.gw.write('more.json', [ingress('more', 'more.example', 'absent')])
        self.gw.until(lambda: self.gw.get('/', host='more.example')[0] == 503, what='a change that would be a line of warning')
        self.assertEqual(self.lines()[quiet:], [])
        self.ask('log-level', 'warning')
        self.dumped(2, 'both write again')

    def test_every_line_is_json(self):
        self.ask('log-level', 'debug')
        self.dumped(2, 'lines of the workers')
        for role in ('worker', 'agent', 'controlplane'):
            self.replace(role)
        self.gw.write('broken.json', [{'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': {'name': 'x\u2028"\\'}, 'spec': {'rules': 7}}])
        self.gw.until(lambda: any(line['component'] == 'controlplane' and line['level'] in ('warning', 'error') for line in self.lines()), what='a problem')
        self.gw.end()
        components = set()
        for line in slurp(self.gw.log_path).split('\n'):
            if not line:
                continue
            pairs = json.loads(line, object_pairs_hook=list)
            keys = [key for key, _ in pairs]
            self.assertEqual(len(keys), len(set(keys)), line)
            one = dict(pairs)
            self.assertRegex(one['ts'], r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$')
            self.assertIn(one['level'], ('debug', 'info', 'warning', 'error'))
            self.assertTrue(one['msg'] and one['component'], line)
            components.add(one['component'])
        self.assertEqual(components, {'run', 'master', 'agent', 'controlplane', 'worker 1', 'worker 2'})


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
