"""The running part of hack/quickstart: services, gateway, and with --check the requests that prove it. Only the standard library; everything it starts
is ended by its own pid, everything it writes is in a folder of its own under build/."""
import base64
import contextlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))
EXAMPLE = os.path.join(ROOT, 'examples', 'quickstart')
SERVICES = (('shop', 18081), ('shop', 18082), ('blog', 18083))  # the ports that the manifests name


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(('127.0.0.1', port))
        except OSError:
            return False
        return True


def any_free(count):
    """Different free ports: all are held before one is given back."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(('127.0.0.1', 0))
        return [s.getsockname()[1] for s in sockets]


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(('127.0.0.1', port)) == 0


class Demo:
    def __init__(self, check):
        self.work = os.path.join(ROOT, 'build', f'quickstart.{os.getpid()}')
        self.manifests = os.path.join(self.work, 'manifests')
        self.children = {}
        self.ports = {}
        shutil.copytree(os.path.join(EXAMPLE, 'manifests'), self.manifests)
        wanted = [port for _, port in SERVICES]
        self.services = any_free(len(wanted)) if check or not all(map(is_free, wanted)) else wanted
        for name in sorted(os.listdir(self.manifests)):
            self.edit(name, lambda text: re.sub(r'\b(\d{5})\b', lambda m: str(dict(zip(wanted, self.services)).get(int(m[1]), m[1])), text))
        self.make_certificate('blog.localhost')
        self.listen = [0, 0, 0] if check or not all(map(is_free, (8080, 8443, 9090))) else [8080, 8443, 9090]

    def edit(self, name, change):
        """Replaces a manifest in one step, as an editor does."""
        path = os.path.join(self.manifests, name)
        with open(path) as f:
            text = change(f.read())
        with open(path + '~', 'w') as f:
            f.write(text)
        os.rename(path + '~', path)

    def make_certificate(self, host):
        self.certificate, key = os.path.join(self.work, 'tls.crt'), os.path.join(self.work, 'tls.key')
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', f'/CN={host}',
                        '-addext', f'subjectAltName=DNS:{host}', '-keyout', key, '-out', self.certificate], check=True, capture_output=True)
        text = {k: base64.b64encode(open(path, 'rb').read()).decode() for k, path in (('tls.crt', self.certificate), ('tls.key', key))}
        secret = {'apiVersion': 'v1', 'kind': 'Secret', 'type': 'kubernetes.io/tls', 'metadata': {'name': 'blog-tls', 'namespace': 'default'}, 'data': text}
        descriptor = os.open(os.path.join(self.manifests, '35-blog-tls.json'), os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, 'w') as f:
            json.dump(secret, f, indent=2)

    def start_service(self, index):
        name, port = SERVICES[index][0], self.services[index]
        self.children[index] = subprocess.Popen([sys.executable, os.path.join(EXAMPLE, 'service.py'), name, str(port)], stdin=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not listens(port):
            if self.children[index].poll() is not None or time.monotonic() > end:
                raise RuntimeError(f'the example service {name} does not listen on port {port}')
            time.sleep(0.02)

    def stop_service(self, index):
        self.children[index].kill()
        self.children[index].wait()

    def start(self):
        for index in range(len(SERVICES)):
            self.start_service(index)
        self.log = open(os.path.join(self.work, 'log'), 'w')
        http_port, https_port, admin_port = map(str, self.listen)
        gateway = subprocess.Popen([os.path.join(os.environ.get('SLUICE_BUILD', os.path.join(ROOT, 'build')), 'bin', 'sluice'), 'run', '--manifests', self.manifests, '--http-port', http_port, '--https-port', https_port,
                                    '--admin-port', admin_port, '--bind', '127.0.0.1', '--state', os.path.join(self.work, 'state')],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, start_new_session=True)
        self.children['gateway'] = gateway
        ready, _, _ = select.select([gateway.stdout], [], [], 60)
        line = gateway.stdout.readline() if ready else b''
        if not line:
            self.log.flush()
            raise RuntimeError('sluice run did not come up:\n' + open(self.log.name).read()[-4000:])
        self.ports = json.loads(line)

    def stop(self):
        for child in self.children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in self.children.values():
            try:
                child.wait(40)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    # ---- requests

    def ask(self, host, path='/', headers=(), method='GET'):
        connection = http.client.HTTPConnection('127.0.0.1', self.ports['http'], timeout=10)
        return self.exchange(connection, host, path, headers, method)

    def ask_tls(self, host, path='/', trust=True):
        context = ssl.create_default_context(cafile=self.certificate)
        if not trust:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        raw = socket.create_connection(('127.0.0.1', self.ports['https']), timeout=10)
        connection = http.client.HTTPConnection('127.0.0.1')
        connection.sock = context.wrap_socket(raw, server_hostname=host)
        return self.exchange(connection, host, path, (), 'GET')

    @staticmethod
    def exchange(connection, host, path, headers, method):
        try:
            connection.request(method, path, headers={'Host': host, **dict(headers)})
            answer = connection.getresponse()
            body = answer.read()
            is_json = answer.getheader('Content-Type', '').startswith('application/json')
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(body) if is_json and body else body
        finally:
            connection.close()

    def until(self, check, what, seconds=20):
        end = time.monotonic() + seconds
        while not check():
            if time.monotonic() > end:
                raise AssertionError(f'did not happen in {seconds} s: {what}')
            time.sleep(0.02)


class Load:
    """Requests from four clients, each on one kept connection at a time, while something else happens. Nothing is retried here: any failure counts."""

    def __init__(self, demo, host, path):
        self.demo, self.host, self.path = demo, host, path
        self.answers, self.failures, self.done = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]

    def run(self):
        connection = http.client.HTTPConnection('127.0.0.1', self.demo.ports['http'], timeout=10)
        while not self.done.is_set():
            try:
                connection.request('GET', self.path, headers={'Host': self.host})
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200:
                    self.failures.append(f'{answer.status} {body[:200]!r}')
                self.answers.append((answer.getheader('X-Quickstart'), json.loads(body)['port'] if answer.status == 200 else None))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            time.sleep(0.001)
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.demo.until(lambda: len(self.answers) > 100 or self.failures, 'requests run')
        return self

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


# ---- the steps of --check; later ones are added at the end of STEPS

def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def step_routing(demo):
    for host, path, service in (('shop.localhost', '/', 'shop'), ('shop.localhost', '/cart?id=1', 'shop'), ('shop.localhost', '/news/today', 'blog'), ('shop.localhost', '/newspaper', 'shop')):
        status, _, body = demo.ask(host, path)
        expect(status == 200 and body['service'] == service and body['path'] == path, f'{host}{path}: {status} {body}')
    status, headers, body = demo.ask('nobody.localhost')
    expect(status == 404, f'a host that nobody serves: {status}')


def step_tls(demo):
    status, _, body = demo.ask_tls('blog.localhost', '/a')
    expect(status == 200 and body['service'] == 'blog', f'https: {status} {body}')
    expect({k.lower(): v for k, v in body['headers'].items()}.get('x-forwarded-proto') == 'https', f'X-Forwarded-Proto: {body["headers"]}')
    status, headers, _ = demo.ask('blog.localhost', '/a?b=c')
    expect(status == 308 and headers['location'].startswith('https://blog.localhost') and headers['location'].endswith('/a?b=c'), f'plain request: {status} {headers}')
    try:
        demo.ask_tls('other.localhost')
        raise AssertionError('a name without a certificate was answered with one that is trusted')
    except ssl.SSLCertVerificationError:
        pass
    expect(demo.ask_tls('other.localhost', trust=False)[0] == 404, 'a name without a certificate gets the default one')


def step_headers(demo):
    status, headers, body = demo.ask('api.localhost', '/v1/items?x=1', headers=(('X-Debug', 'yes'), ('X-Api-Version', '9')))
    got = {k.lower(): v for k, v in body['headers'].items()}
    expect(status == 200 and body['path'] == '/items?x=1', f'path: {status} {body}')
    expect(got.get('x-api-version') == '1' and 'x-debug' not in got, f'request headers: {got}')
    expect(headers.get('x-quickstart') == 'first', f'answer headers: {headers}')


def step_backend(demo):
    seen = lambda load, since: {port for _, port in load.answers[since:]}
    with Load(demo, 'shop.localhost', '/') as load:
        demo.until(lambda: seen(load, 0) >= set(demo.services[:2]), 'both instances of shop answer')
        # Only its own connections break: their requests were not answered, so they are tried again on the other instance.
        demo.stop_service(0)
        since = len(load.answers) + 50
        demo.until(lambda: len(load.answers) > since + 200, 'the other instance answers')
        expect(seen(load, since) == {demo.services[1]}, f'answers from {seen(load, since)}')
        demo.start_service(0)
        since = len(load.answers)
        demo.until(lambda: demo.services[0] in seen(load, since), 'the instance that came back answers')
    expect(not load.failures, f'{len(load.failures)} of {len(load.answers)} requests failed: {load.failures[:3]}')
    return f'{len(load.answers)} requests, none lost'


def step_change(demo):
    with Load(demo, 'api.localhost', '/v1/x') as load:
        for number in range(20):
            demo.edit('40-route.yaml', lambda text: re.sub(r'(X-Quickstart\n\s+value: )\S+', rf'\g<1>change-{number}', text))
            since = len(load.answers)
            demo.until(lambda: any(value == f'change-{number}' for value, _ in load.answers[since:]), f'change {number} is served')
    expect(not load.failures, f'{len(load.failures)} of {len(load.answers)} requests failed: {load.failures[:3]}')
    return f'20 changes, {len(load.answers)} requests, none lost'


def step_metrics(demo):
    connection = http.client.HTTPConnection('127.0.0.1', demo.ports['admin'], timeout=10)
    status, _, body = demo.exchange(connection, 'admin', '/metrics', (), 'GET')
    text = body.decode()
    expect(status == 200, f'/metrics: {status}')
    total = sum(float(line.rsplit(' ', 1)[1]) for line in text.splitlines() if line.startswith('sluice_requests_total{') and 'shop' in line)
    expect(total > 100, f'sluice_requests_total of shop: {total}')
    return f'{int(total)} requests counted for shop'


STEPS = (
    ('routing by host and path', step_routing),
    ('TLS with SNI, plain requests sent to https', step_tls),
    ('headers and path rewritten by a Route', step_headers),
    ('a backend killed and back', step_backend),
    ('a route changed while requests run', step_change),
    ('metrics', step_metrics),
)


def check(demo):
    failed = False
    for name, step in STEPS:
        try:
            detail = step(demo)
            print(f'ok    {name}' + (f': {detail}' if detail else ''), flush=True)
        except Exception as error:  # one failed step must not hide the others
            failed = True
            print(f'FAIL  {name}: {type(error).__name__}: {error}', flush=True)
    if failed:
        demo.log.flush()
        sys.stderr.write(open(demo.log.name).read()[-4000:])
    return 1 if failed else 0


def serve(demo):
    plain, tls, admin = demo.ports['http'], demo.ports['https'], demo.ports['admin']
    print(f'''
Sluice is running. Try:
  curl http://shop.localhost:{plain}/             two instances of shop
  curl http://shop.localhost:{plain}/news         a path of another service
  curl http://api.localhost:{plain}/v1/items -i   a Route: path and headers are rewritten
  curl --cacert {os.path.relpath(demo.certificate)} https://blog.localhost:{tls}/
  curl http://127.0.0.1:{admin}/metrics
Change the files in {os.path.relpath(demo.manifests)}: what you save is served at once.
The log is {os.path.relpath(demo.log.name)}. Ctrl-C ends everything and removes that folder.
''', flush=True)
    gateway = demo.children['gateway']
    while gateway.poll() is None:
        time.sleep(0.5)
    print('the gateway ended', file=sys.stderr)
    return 1


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    wants_check = '--check' in sys.argv[1:]
    demo = Demo(wants_check)
    try:
        demo.start()
        return check(demo) if wants_check else serve(demo)
    except KeyboardInterrupt:
        return 0
    except RuntimeError as error:
        print(f'hack/quickstart: {error}', file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        demo.stop()


if __name__ == '__main__':
    sys.exit(main())
