#!/usr/bin/env python3
"""docs/reference/metrics.md against a live scrape of both planes: names, types, labels and help texts are the same, and nothing is missing on either side.
metrics_reference_test.py --write writes the page. Beside that: the control plane's admin port from outside."""
import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import BIN, CLASS, PATIENCE, ROOT, Gateway, Origin, ingress, make_certificate, read_answer, service, slurp, tls_secret  # noqa: E402

PAGE = os.path.join(ROOT, 'docs', 'reference', 'metrics.md')
HEAD = """# Metrics

<!-- Written by tests/proxy/metrics_reference_test.py --write from a scrape of a running gateway; the test fails when this page and a scrape differ. -->

Both planes have a `/metrics` of their own, in Prometheus' text format. A label's values come from closed lists, or are bounded: routes by `--metric-routes`
(1,000; those that came first, the others together as kind `_other`), their namespaces to 255, clusters and rate limits by the slots of the counter pages, certificates to the 1,000 that end
first, reasons of problems to 64. What names a route's object begins with `route_`, because Prometheus puts `namespace` and other labels of the scraped Pod beside it. Counters of the data plane
never go back while it runs: not with a new table, nor when a worker or the agent dies, nor with a new binary; only what counts states and their propagation begins with the agent.

The chart has alert rules and a Grafana dashboard over these (`metrics.prometheusRule`, `metrics.dashboard`; `helm/sluice/rules/alerts.yaml`, `helm/sluice/dashboards/sluice.json`).
"""


def families(text):
    """name -> (type, help, label names)"""
    out, help_of = {}, {}
    for line in text.split('\n'):
        if line.startswith('# HELP '):
            name, _, help_text = line[7:].partition(' ')
            help_of[name] = help_text
        elif line.startswith('# TYPE '):
            name, kind = line[7:].split()
            out[name] = (kind, help_of.get(name, ''), set())
        elif line:
            name = re.match(r'[a-z0-9_]+', line)[0]
            base = re.sub(r'_(bucket|sum|count)$', '', name) if name not in out else name
            out[base][2].update(label for label in re.findall(r'([a-z_]+)="', line) if label != 'le')
    return out


def table(title, scraped):
    rows = [f'| `{name}` | {kind} | {", ".join(f"`{label}`" for label in sorted(labels))} | {help_text} |' for name, (kind, help_text, labels) in sorted(scraped.items())]
    return f'\n## {title}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n' + '\n'.join(rows) + '\n'


class Running(Gateway):
    """A gateway with a request of each kind behind it, so that every family has something to say."""

    def __init__(self, origin):
        self.origin = origin
        policy = {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'clients', 'namespace': 'default'},
                  'spec': {'targetRefs': [{'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'plain'}], 'limits': [{'name': 'all', 'requests': 1000}]}}
        super().__init__([CLASS, policy] + service('web', origin.ports) + [ingress('web', 'a.example', 'web', tls='cert'), ingress('plain', 'c.example', 'web'), ingress('bad', 'b.example', 'absent')], https=True,
                         args=['--controlplane-admin-port', '0'])
        cert, key = make_certificate(self.work, 'a.example')
        self.write('secret.json', [tls_secret('cert', cert, key)])
        self.until(lambda: 'sluice_certificate_not_after_seconds{' in self.metrics(), what='the certificate is there')
        assert self.get('/', host='a.example')[0] == 308
        assert self.get('/', host='c.example')[0] == 200
        assert self.get('/', host='nobody.example')[0] == 404
        assert self.get('/', host='c.example', method='POST', headers=[('Content-Type', 'application/grpc')], body=b'x')[0] == 200

    def control(self, path, method='GET'):
        status, _, body = self.get(path, host='admin', port=self.ports['controlplane_admin'], method=method)
        return status, body.decode()


def page(gw):
    assert gw.get('/', host='b.example')[0] == 503
    return HEAD + table('Data plane', families(gw.metrics())) + table('Control plane', families(gw.control('/metrics')[1]))


class MetricsReference(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(1)
        cls.gw = Running(cls.origin)

    @classmethod
    def tearDownClass(cls):
        cls.gw.stop()
        cls.origin.stop()

    def test_the_page_is_what_a_scrape_shows(self):
        self.maxDiff = None
        with contextlib.suppress(AssertionError):  # what was asked last may not have been counted yet
            self.gw.until(lambda: page(self.gw) == slurp(PAGE), what='the page is what a scrape shows')
        self.assertEqual(slurp(PAGE).split('\n'), page(self.gw).split('\n'), 'run tests/proxy/metrics_reference_test.py --write')

    def test_prefixes(self):
        for name in families(self.gw.control('/metrics')[1]):
            self.assertTrue(name.startswith('sluice_controlplane_'), name)
        for name in families(self.gw.metrics()):
            self.assertTrue(name.startswith('sluice_') and not name.startswith('sluice_controlplane_'), name)

    def test_probes(self):
        self.assertEqual(self.gw.control('/healthz'), (200, 'ok\n'))
        self.gw.until(lambda: self.gw.control('/readyz') == (200, 'ready\n'), what='the control plane is ready')
        self.assertEqual(self.gw.control('/nothing')[0], 404)
        self.assertEqual(self.gw.control('/metrics', 'POST')[0], 405)
        with socket.create_connection(('127.0.0.1', self.gw.ports['controlplane_admin']), timeout=PATIENCE) as s:
            s.sendall(b'GET /metrics HTTP/1.1\r\nX: ' + b'x' * 10000 + b'\r\n\r\n')
            self.assertEqual(read_answer(s)[0], 431)

    def test_figures_follow_what_happens(self):
        def value(text):
            return float(re.search(text.replace('{', r'\{').replace('}', r'\}') + r' ([0-9.e+]+)$', self.gw.control('/metrics')[1], re.M)[1])
        self.gw.until(lambda: value('sluice_controlplane_acks_total') >= 1, what='an acknowledgement')
        self.gw.settled()
        self.assertEqual(value('sluice_controlplane_objects{kind="Ingress"}'), 3)
        self.assertEqual(value('sluice_controlplane_problems{reason="BackendNotFound",severity="error"}'), 1)
        before = value('sluice_controlplane_states_published_total')
        self.gw.write('more.json', service('absent', self.origin.ports))
        self.gw.until(lambda: 'reason="BackendNotFound"' not in self.gw.control('/metrics')[1], what='the problem is gone')
        self.gw.until(lambda: value('sluice_controlplane_states_published_total') > before, what='a state more')
        self.gw.until(lambda: value('sluice_controlplane_generation') == value('sluice_controlplane_acknowledged_generation'), what='the newest state is acknowledged')
        self.assertGreater(value('sluice_controlplane_last_push_timestamp_seconds'), 1e9)
        self.gw.remove('more.json')
        self.gw.until(lambda: 'reason="BackendNotFound"' in self.gw.control('/metrics')[1], what='the problem is back')


class NotReady(unittest.TestCase):
    def test_readyz_says_what_is_missing(self):
        # Without a data plane on its socket.
        with Gateway([CLASS], admin=False, args=['--controlplane-admin-port', '0']) as gw:
            p = subprocess.Popen([os.path.join(BIN, 'sluice-controlplane'), '--manifests', gw.folder, '--socket', os.path.join(gw.work, 'other.sock'), '--admin-port', '0'],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, bufsize=0)  # without a buffer: select() sees every line
            try:
                port = None
                while port is None and select.select([p.stderr], [], [], PATIENCE)[0]:
                    line = json.loads(p.stderr.readline())
                    port = int(line['port']) if line.get('msg') == 'admin port' else None
                missing = (503, b'not ready; still missing:\n- a data plane on the push socket\n')
                gw.until(lambda: gw.get('/readyz', host='admin', port=port)[::2] == missing, what='a state is made, and nobody there to take it')
                self.assertEqual(gw.get('/healthz', host='admin', port=port)[0], 200)
            finally:
                p.terminate()
                p.wait()
                p.stderr.close()


if __name__ == '__main__':
    if '--write' in sys.argv:
        with Origin(1) as origin, Running(origin) as gw:
            with open(PAGE, 'w') as f:
                f.write(page(gw))
        print(f'{os.path.relpath(PAGE, ROOT)} written')
        sys.exit(0)
    unittest.main(verbosity=2, warnings='ignore')
