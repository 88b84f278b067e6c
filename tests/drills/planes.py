"""Both planes as two programs on an API server: the double of tests/lib, or the real one of hack/kube."""
import json
import os
import select
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib.gateway import BIN, PATIENCE, ROOT, SLOW, START_SECONDS, end_processes, read_answer, slurp, until  # noqa: E402

# Endpoints on loopback are refused to objects of a cluster: what needs one runs in a network namespace, where its origins have this address.
ADDRESS = '198.18.0.1'
KUBE = os.path.join(ROOT, 'hack', 'kube')


def inside(script):
    """Runs the drill again inside `hack/kube netns`, unless it is there."""
    if os.environ.get('SLUICE_IN_NETNS') != '1':
        os.execvpe(KUBE, [KUBE, 'netns', sys.executable, os.path.abspath(script)] + sys.argv[1:], dict(os.environ, SLUICE_IN_NETNS='1'))


COLLECTIONS = {'Ingress': '/apis/networking.k8s.io/v1/ingresses', 'IngressClass': '/apis/networking.k8s.io/v1/ingressclasses', 'Service': '/api/v1/services',
               'EndpointSlice': '/apis/discovery.k8s.io/v1/endpointslices', 'Secret': '/api/v1/secrets', 'ConfigMap': '/api/v1/configmaps', 'Namespace': '/api/v1/namespaces',
               'Route': '/apis/sluice.dev/v1alpha1/routes', 'RateLimitPolicy': '/apis/sluice.dev/v1alpha1/ratelimitpolicies'}


class Double:
    """tests/lib/fake_apiserver.py as a child."""

    def __init__(self, work):
        self.cert, self.key = os.path.join(work, 'api.crt'), os.path.join(work, 'api.key')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', '/CN=apiserver', '-addext',
                        'subjectAltName=IP:127.0.0.1', '-keyout', self.key, '-out', self.cert], check=True, capture_output=True)
        self.proc = subprocess.Popen([sys.executable, os.path.join(ROOT, 'tests', 'lib', 'fake_apiserver.py'), self.cert, self.key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.proc.stdout.readline())['port']
        self.kubeconfig = os.path.join(work, 'kubeconfig')
        with open(self.kubeconfig, 'w') as f:
            json.dump({'apiVersion': 'v1', 'kind': 'Config', 'current-context': 'c', 'contexts': [{'name': 'c', 'context': {'cluster': 'c', 'user': 'u'}}],
                       'clusters': [{'name': 'c', 'cluster': {'server': f'https://127.0.0.1:{self.port}', 'certificate-authority': self.cert}}],
                       'users': [{'name': 'u', 'user': {'token': 'drill'}}]}, f)

    def command(self, op, **more):
        self.proc.stdin.write(json.dumps({'op': op, **more}) + '\n')
        self.proc.stdin.flush()
        answer = json.loads(self.proc.stdout.readline())
        if 'error' in answer:
            raise RuntimeError(answer)
        return answer

    def put(self, objects):
        for one in objects:
            self.command('put', path=COLLECTIONS[one['kind']], object=one)

    def stop(self):
        self.proc.kill()
        self.proc.wait()


class Planes:
    """workers: of the data plane. The listener is plain HTTP on 127.0.0.1, its port the kernel's choice."""

    def __init__(self, kubeconfig, workers=2, level='warning'):
        self.work = tempfile.mkdtemp(prefix='sluice-planes.')
        self.log = open(os.path.join(self.work, 'log'), 'a')
        config, sock = os.path.join(self.work, 'config.yaml'), os.path.join(self.work, 'push.sock')
        with open(config, 'w') as f:
            f.write('accessLog:\n  path: "off"\n')
        self.control = subprocess.Popen([os.path.join(BIN, 'sluice-controlplane'), '--kubeconfig', kubeconfig, '--socket', sock, '--config', config, '--http-port', '0', '--bind', '127.0.0.1',
                                         '--workers', str(workers), '--admin-port', '0', '--print-ports', '--log-level', level], stdout=subprocess.PIPE, stderr=self.log)
        self.data = subprocess.Popen([os.path.join(BIN, 'sluice-dataplane'), '--socket', sock, '--state', os.path.join(self.work, 'state'), '--foreground', '--log-level', 'warning'],
                                     stdout=self.log, stderr=self.log)
        self.ports = {}

    def read_ports(self):
        ready, _, _ = select.select([self.control.stdout], [], [], START_SECONDS)
        line = self.control.stdout.readline() if ready else b''
        if not line:
            raise RuntimeError('no ports were printed:\n' + slurp(self.log.name)[-3000:])
        self.ports = json.loads(line)
        return self

    def get(self, path='/', host='a.example', port=None):
        with socket.create_connection(('127.0.0.1', port or self.ports['http']), timeout=PATIENCE) as s:
            s.sendall(f'GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n'.encode())
            return read_answer(s)

    def metrics(self):
        """Of the control plane."""
        text = self.get('/metrics', 'admin', self.ports['controlplane_admin'])[2].decode()
        return {name: float(value) for name, value in (line.rsplit(' ', 1) for line in text.splitlines() if line and line[0] != '#')}

    def until(self, check, seconds, what):
        until(check, seconds * SLOW, what, lambda: slurp(self.log.name)[-3000:])

    def stop(self):
        end_processes(self.control, self.data)
        self.log.close()


def total(metrics, name):
    return sum(v for k, v in metrics.items() if k.split('{')[0] == name)
