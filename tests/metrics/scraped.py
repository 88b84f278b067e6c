"""A real Prometheus that scrapes both planes of a gateway with traffic of every kind, and what is asked of it: the queries of the dashboard and of the alerts.
Used by the tests beside this and by hack/dashboard-picture."""
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib.gateway import CLASS, PATIENCE, ROOT, START_SECONDS, Gateway, Origin, end_processes, ingress, make_certificate, route, service, slurp, tls_secret  # noqa: E402

DASHBOARD = os.path.join(ROOT, 'helm', 'sluice', 'dashboards', 'sluice.json')
RULES = os.path.join(ROOT, 'helm', 'sluice', 'rules', 'alerts.yaml')
# What Prometheus puts beside a Pod's own labels; the gateway's must not be called like that.
POD = {'namespace': 'edge', 'pod': 'edge-sluice-0', 'container': 'dataplane', 'service': 'edge-sluice-metrics', 'node': 'one'}


def panels():
    """(title, panel) of everything that asks."""
    return [(one['title'], one) for one in json.loads(slurp(DASHBOARD))['panels'] if one['type'] != 'row']


def queries(panel, interval='5s'):
    """(query, legend) as Grafana would send it, all values chosen."""
    for target in panel['targets']:
        query = target['expr'].replace('$__rate_interval', interval)
        yield re.sub(r'\$(namespace|job|route_namespace)\b', '.*', query), target['legendFormat']


def alerts():
    return [rule for group in yaml.safe_load(slurp(RULES))['groups'] for rule in group['rules']]


def listening_port(pid):
    """The TCP port that a process listens on."""
    inodes = set()
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            inodes |= set(re.findall(r'socket:\[(\d+)\]', os.readlink(f'/proc/{pid}/fd/{fd}')))
        except OSError:
            pass
    for table in ('tcp', 'tcp6'):
        for line in slurp(f'/proc/{pid}/net/{table}').split('\n')[1:]:
            words = line.split()
            if len(words) > 9 and words[3] == '0A' and words[9] in inodes:
                return int(words[1].rpartition(':')[2], 16)
    return None


class Prometheus:
    """Debian's package, on a folder and a port of its own."""

    def __init__(self, targets, interval='500ms'):
        self.work = tempfile.mkdtemp(prefix='sluice-prometheus.')
        config = {'global': {'scrape_interval': interval, 'scrape_timeout': interval, 'evaluation_interval': interval}, 'rule_files': [RULES],
                  'scrape_configs': [{'job_name': 'sluice', 'static_configs': [{'targets': [f'127.0.0.1:{port}' for port in targets], 'labels': POD}]}]}
        path = os.path.join(self.work, 'prometheus.yml')
        with open(path, 'w') as f:
            yaml.safe_dump(config, f)
        self.log = open(os.path.join(self.work, 'log'), 'w')
        self.proc = subprocess.Popen(['prometheus', f'--config.file={path}', f'--storage.tsdb.path={self.work}/data', '--web.listen-address=127.0.0.1:0', '--log.level=warn'],
                                     stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        self.port = None
        while self.port is None or not self.ready():
            if self.proc.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError('prometheus does not start')
            time.sleep(0.05)
            self.port = listening_port(self.proc.pid)

    def ready(self):
        try:
            return self.get('/-/ready') is not None
        except OSError:
            return False

    def get(self, path, **query):
        with urllib.request.urlopen(f'http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}', timeout=PATIENCE) as answer:
            return answer.read()

    def api(self, path, **query):
        try:
            return json.loads(self.get(f'/api/v1/{path}', **query))['data']
        except urllib.error.HTTPError as error:
            raise AssertionError(f'{query}: {error.read().decode()}') from error

    def query(self, query):
        return self.api('query', query=query)['result']

    def stop(self):
        if self.proc.poll() is None:
            end_processes(self.proc)
        self.log.close()
        shutil.rmtree(self.work, ignore_errors=True)


class Traffic:
    """A gateway with two planes' ports, objects of several namespaces and kinds, and requests that leave a mark in every metric."""

    def __init__(self):
        self.origin = Origin(2)
        policy = {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'clients', 'namespace': 'shop'},
                  'spec': {'targetRefs': [{'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'cart'}], 'limits': [{'name': 'all', 'requests': 20, 'per': '1s', 'burst': 20}]}}
        split = [{'name': 'split', 'matches': [{'path': {'type': 'PathPrefix', 'value': '/'}}], 'backendRefs': [{'name': 'api', 'port': 80}]}]
        objects = [CLASS, policy, ingress('web', 'web.example', 'web', ns='shop'), ingress('cart', 'cart.example', 'web', ns='shop'),
                   ingress('secure', 'secure.example', 'web', ns='shop', tls='cert'), route('api', ['api.example'], split, ns='api'), ingress('broken', 'broken.example', 'absent', ns='api'),
                   ingress('away', 'away.example', 'away', ns='api'), *service('web', self.origin.ports, ns='shop'), *service('api', self.origin.ports, ns='api'), *service('away', [1], ns='api')]
        self.gw = Gateway(objects, https=True, workers=2, args=['--controlplane-admin-port', '0'], config='accessLog: {path: /dev/null}\n')
        cert, key = make_certificate(self.gw.work, 'secure.example')
        self.gw.write('secret.json', [tls_secret('cert', cert, key, ns='shop')])
        self.gw.until(lambda: 'sluice_certificate_not_after_seconds{' in self.gw.metrics(), what='the certificate is there')
        self.tls = ssl.create_default_context(cafile=cert)
        self.ending = threading.Event()
        self.changes = 0

    def round(self):
        """A request of each kind; the answers' statuses."""
        gw = self.gw
        out = {'web': gw.get('/', host='web.example')[0], 'post': gw.get('/', host='web.example', method='POST', body=b'x' * 3000)[0], 'cart': gw.get('/', host='cart.example')[0],
               'api': gw.get('/v1', host='api.example')[0], 'redirect': gw.get('/', host='secure.example')[0], 'broken': gw.get('/', host='broken.example')[0],
               'away': gw.get('/', host='away.example')[0], 'none': gw.get('/', host='nobody.example')[0]}
        with self.tls.wrap_socket(gw.connect(gw.https), server_hostname='secure.example') as s:
            s.sendall(b'GET / HTTP/1.1\r\nHost: secure.example\r\nConnection: close\r\n\r\n')
            out['tls'] = int(s.recv(4096).split()[1])
        return out

    def change(self):
        self.changes += 1
        self.gw.write('more.json', [ingress(f'more-{self.changes}', f'more{self.changes}.example', 'web', ns='shop')])

    def kill_worker(self):
        old = self.gw.pids('worker')
        os.kill(old[0], signal.SIGKILL)
        # Only then is nothing lost with it.
        self.gw.until(lambda: len(now := self.gw.pids('worker')) == len(old) and old[0] not in now, what='another worker')

    def stop(self):
        self.gw.stop()
        self.origin.stop()
