"""Runs `sluice run` on a folder of manifests for the tests, and builds the objects they need. Only the standard library; every process started here is
stopped by its own pid; every port is chosen by the kernel."""
import base64
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
BUILD = os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build'))
BIN = os.path.join(BUILD, 'bin')
TOOLS = os.path.join(BUILD, 'tests')
# Sanitizer builds and busy machines are slow: the bounds below make a hang a failure and nothing more; what works never waits for them.
SLOW = float(os.environ.get('SLUICE_TEST_SLOW', '1'))
START_SECONDS = 60 * SLOW
LEAST_SECONDS = 60  # of patience, whatever a test asks for: a machine that does other things meanwhile stands still for seconds


PATIENCE = 60 * SLOW  # with a peer that says nothing


def slurp(path):
    with open(path, errors='replace') as f:
        return f.read()


def family(pid):
    """The process and what it has started, as they are in /proc."""
    out, todo = [], [pid]
    while todo:
        out.append(todo.pop())
        try:
            todo += [int(c) for task in os.listdir(f'/proc/{out[-1]}/task') for c in slurp(f'/proc/{out[-1]}/task/{task}/children').split()]
        except OSError:
            pass
    return out


def accepted(pid, port):
    """Established connections of a process that came to this port (IPv4)."""
    fds = set()
    for fd in os.listdir(f'/proc/{pid}/fd'):
        try:
            fds.add(os.readlink(f'/proc/{pid}/fd/{fd}'))
        except OSError:
            pass
    fields = (line.split() for line in slurp('/proc/net/tcp').splitlines()[1:])
    # While others come and go the kernel may show a line twice, or not at all.
    return len({f[9] for f in fields if f[3] == '01' and int(f[1].split(':')[1], 16) == port and f'socket:[{f[9]}]' in fds})


def until(check, seconds, what, tail=lambda: '', errors=OSError, pause=0.02):
    """Polls until check() is true; `errors` of it mean not yet. The bound is there so that a hang becomes a failure, not as a measure of speed."""
    seconds = max(seconds, LEAST_SECONDS)
    end, last = time.monotonic() + seconds, ''
    while time.monotonic() < end:
        try:
            if check():
                return
        except errors as e:
            last = str(e)
        time.sleep(pause)
    raise AssertionError(f'did not happen in {seconds} s: {what} {last}\n{tail()}')


def end_processes(*processes):
    """SIGTERM to all of them, and they end; who does not is killed."""
    for p in processes:
        if p.poll() is None:
            p.send_signal(signal.SIGTERM)
    for p in processes:
        try:
            p.wait(40 * SLOW)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()


class Gateway:
    """A running gateway. objects: list of dicts, written to one file; more files by write(). http, workers, bind: False or None = no such flag."""

    def __init__(self, objects=(), http=True, https=False, admin=True, workers=1, config='', args=(), folder=None, state=None, bind='127.0.0.1', wait=True, wrap=()):
        self.work = tempfile.mkdtemp(prefix='sluice-test.')
        self.folder = folder or os.path.join(self.work, 'manifests')
        os.makedirs(self.folder, exist_ok=True)
        self.state = state or os.path.join(self.work, 'state')
        if objects:
            self.write('objects.json', objects)
        self.config = os.path.join(self.work, 'config.yaml')
        self.configure(config)
        self.address = bind if bind and bind not in ('0.0.0.0', '::') else '127.0.0.1'
        flags = {'--http-port': '0' if http else None, '--https-port': '0' if https else None, '--admin-port': '0' if admin else None, '--bind': bind,
                 '--workers': workers}
        self.args = [*wrap, os.path.join(BIN, 'sluice'), 'run', '--manifests', self.folder, '--state', self.state, '--config', self.config]
        self.args += [str(word) for flag, value in flags.items() if value is not None for word in (flag, value)] + list(args)
        self.log_path = os.path.join(self.work, 'log')
        self.proc = None
        self.ports = {}
        self.start(wait)

    def start(self, wait=True):
        self.log = open(self.log_path, 'a')
        self.proc = subprocess.Popen(self.args, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL)
        if wait:
            self.read_ports()

    def read_ports(self):
        ready, _, _ = select.select([self.proc.stdout], [], [], START_SECONDS)
        line = self.proc.stdout.readline() if ready else b''
        if not line:
            self.proc.kill()
            self.proc.wait()
            raise RuntimeError('sluice run printed no ports; its log ends with:\n' + self.tail())
        self.ports = json.loads(line)

    def tail(self, lines=30):
        return '\n'.join(slurp(self.log_path).split('\n')[-lines:])

    @property
    def http(self):
        return self.ports['http']

    @property
    def https(self):
        return self.ports['https']

    @property
    def admin(self):
        return self.ports['admin']

    def write(self, name, objects):
        """Replaces one manifest file in one step."""
        path = os.path.join(self.folder, name)
        with open(path + '.tmp~', 'w') as f:
            json.dump({'apiVersion': 'v1', 'kind': 'List', 'items': list(objects)}, f)
        os.rename(path + '.tmp~', path)

    def configure(self, text):
        """Replaces the config file in one step; a running gateway sees it. No access log unless the text has one."""
        with open(self.config + '~', 'w') as f:
            f.write(text if 'accessLog' in text else text + '\naccessLog:\n  path: "off"\n')
        os.rename(self.config + '~', self.config)

    def remove(self, name):
        os.unlink(os.path.join(self.folder, name))

    def pids(self, role=None):
        """Processes of this gateway by title: 'master', 'agent', 'worker' (all of them), 'controlplane'."""
        out = []
        for pid in family(self.proc.pid):
            try:
                title = slurp(f'/proc/{pid}/cmdline').replace('\0', ' ')
            except OSError:
                continue
            if role is None or (role == 'controlplane' and 'sluice-controlplane' in title) or f'sluice-dataplane: {role}' in title:
                out.append(pid)
        return out

    def connect(self, port=None):
        return socket.create_connection((self.address, port or self.http), timeout=PATIENCE)

    def get(self, path='/', host='a.example', headers=(), method='GET', body=b'', port=None):
        """One request on its own connection. Returns (status, headers dict in lower case, body)."""
        with self.connect(port) as s:
            head = f'{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n' + ''.join(f'{k}: {v}\r\n' for k, v in headers)
            if body:
                head += f'Content-Length: {len(body)}\r\n'
            s.sendall(head.encode() + b'\r\n' + body)
            return read_answer(s, method)

    def metrics(self):
        status, _, body = self.get('/metrics', host='admin', port=self.admin)
        if status != 200:
            raise ConnectionError(f'/metrics: {status}')  # to until(): not yet
        return body.decode()

    def lines(self):
        """Whole lines of the log: behind the last line end there is nothing, or a line that is being written."""
        return slurp(self.log_path).split('\n')[:-1]

    def status(self, plane):
        """What the 'control' or the 'data' plane says of itself."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE)
            s.connect(os.path.join(self.state, f'{plane}.sock'))
            s.sendall(b'GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
            return json.loads(read_answer(s)[2])

    def settled(self):
        """Waits until every worker runs the newest state: an answer that shows a change tells of one worker, and the next request may meet another."""
        def same():
            control, data = self.status('control'), self.status('data')
            return control['generation'] == control['acknowledged'] == data['generation'] and data['workers']['ready'] == data['workers']['wanted']
        self.until(same, what='every worker runs the newest state')

    def replaced(self, role, old, what=''):
        """Waits until there are as many processes of a role as `old` has, and none of those."""
        self.until(lambda: len(now := set(self.pids(role))) == len(set(old)) and not now & set(old), what=what or f'another {role}')

    def until(self, check, seconds=20.0, what=''):
        until(check, seconds * SLOW, what, self.tail)

    def end(self):
        """Ends the processes; state, manifests and log stay."""
        if self.proc:
            end_processes(self.proc)

    def stop(self, keep_state=False):
        self.end()
        if self.proc and self.proc.stdout:
            self.proc.stdout.close()
        self.log.close()
        if not keep_state:
            shutil.rmtree(self.work, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is not None and not issubclass(kind, KeyboardInterrupt):
            sys.stderr.write(self.tail())
        self.stop()


def read_answer(s, method='GET'):
    """Reads one HTTP/1.1 answer that ends by length, chunks or close."""
    data = b''
    while b'\r\n\r\n' not in data:
        got = s.recv(65536)
        if not got:
            raise ConnectionError(f'closed inside the head: {data[:200]!r}')
        data += got
    head, _, rest = data.partition(b'\r\n\r\n')
    lines = head.decode('latin-1').split('\r\n')
    status = int(lines[0].split()[1])
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(':')
        headers.setdefault(name.strip().lower(), value.strip())
    if method == 'HEAD' or status in (204, 304):
        return status, headers, b''
    if 'content-length' in headers:
        want = int(headers['content-length'])
        while len(rest) < want:
            got = s.recv(65536)
            if not got:
                raise ConnectionError('cut body')
            rest += got
        return status, headers, rest[:want]
    while True:
        got = s.recv(65536)
        if not got:
            break
        rest += got
    if headers.get('transfer-encoding', '').lower() == 'chunked':
        body = b''
        while True:
            size, _, rest = rest.partition(b'\r\n')
            n = int(size.split(b';')[0], 16)
            if n == 0:
                return status, headers, body
            body, rest = body + rest[:n], rest[n + 2:]
    return status, headers, rest


# ---- objects

CLASS = {'apiVersion': 'networking.k8s.io/v1', 'kind': 'IngressClass', 'metadata': {'name': 'sluice'}, 'spec': {'controller': 'sluice.dev/ingress-controller'}}


def service(name, ports, ns='default', port=80, address='127.0.0.1', conditions=None, protocol=None):
    """A Service and its EndpointSlice; protocol: the port's appProtocol; ports: the endpoints' port numbers (one slice entry each needs its own slice, so several slices)."""
    out = [{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name, 'namespace': ns}, 'spec': {'ports': [{'name': 'http', 'port': port} | ({'appProtocol': protocol} if protocol else {})]}}]
    for i, p in enumerate(ports):
        out.append({'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice',
                    'metadata': {'name': f'{name}-{i}', 'namespace': ns, 'labels': {'kubernetes.io/service-name': name}}, 'addressType': 'IPv6' if ':' in address else 'IPv4',
                    'ports': [{'name': 'http', 'port': p, 'protocol': 'TCP'}],
                    'endpoints': [{'addresses': [address], 'conditions': conditions or {'ready': True, 'serving': True, 'terminating': False}}]})
    return out


def ingress(name, host, backend, path='/', path_type='Prefix', ns='default', port=80, tls=None, annotations=None):
    spec = {'ingressClassName': 'sluice', 'rules': [{'host': host, 'http': {'paths': [
        {'path': path, 'pathType': path_type, 'backend': {'service': {'name': backend, 'port': {'number': port}}}}]}}]}
    if not host:
        del spec['rules'][0]['host']
    if tls:
        spec['tls'] = [{'hosts': [host], 'secretName': tls}]
    meta = {'name': name, 'namespace': ns}
    if annotations:
        meta['annotations'] = annotations
    return {'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': meta, 'spec': spec}


def route(name, hostnames, rules, ns='default'):
    return {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'Route', 'metadata': {'name': name, 'namespace': ns},
            'spec': {'parentRefs': [{'group': 'networking.k8s.io', 'kind': 'IngressClass', 'name': 'sluice'}], 'hostnames': list(hostnames), 'rules': list(rules)}}


def make_certificate(work, name):
    """Self-signed P-256 for `name`; returns (certificate path, key path)."""
    safe = name.replace('*', 'star')
    cert, key = os.path.join(work, f'{safe}.crt'), os.path.join(work, f'{safe}.key')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', f'/CN={name[:60]}', '-addext',
                    f'subjectAltName=DNS:{name}', '-keyout', key, '-out', cert], check=True, capture_output=True)
    return cert, key


def tls_secret(name, cert, key, ns='default'):
    b64 = lambda path: base64.b64encode(slurp(path).encode()).decode()
    return {'apiVersion': 'v1', 'kind': 'Secret', 'type': 'kubernetes.io/tls', 'metadata': {'name': name, 'namespace': ns}, 'data': {'tls.crt': b64(cert), 'tls.key': b64(key)}}


def sluice(*args, seconds=60 * SLOW):
    """Runs the tool to its end: (exit code, stdout, stderr)."""
    p = subprocess.run([os.path.join(BIN, 'sluice'), *map(str, args)], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    return p.returncode, p.stdout, p.stderr


class Origin:
    """tests/tools/origin.c: COUNT listeners that answer "INDEX COUNT GENERATION"."""

    def __init__(self, count=1, address='127.0.0.1'):
        self.proc = subprocess.Popen([os.path.join(TOOLS, 'origin'), '0', str(count), address], stdout=subprocess.PIPE)
        self.ports = [int(p) for p in self.proc.stdout.readline().split()]

    def stop(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Load:
    """tests/tools/openload.c in the background: open loop, no retries, every answer checked."""

    def __init__(self, mode, port, host, path, rate, seconds, connections=32, skip=None, wrap=()):
        pace = [] if mode in ('new', 'busy') else [rate]
        words = [port, host, path, *pace, seconds, connections] + ([] if skip is None else [skip])
        self.proc = subprocess.Popen([*wrap, os.path.join(TOOLS, 'openload'), mode, *map(str, words)], stdout=subprocess.PIPE, text=True)

    def result(self):
        out, _ = self.proc.communicate()
        return json.loads(out.strip().split('\n')[-1])

    def finish(self):
        """Enough: nothing new is asked, and what is under way is answered. What there is to see has happened, however long that took."""
        self.proc.send_signal(signal.SIGTERM)
        return self.result()

    def stop(self):
        if self.proc.poll() is None:
            self.proc.kill()
        if not self.proc.stdout.closed:
            self.proc.communicate()
