"""What tests of a release on a real API server share: kubectl, helm, waiting, asking, the commands of docs/install.md, and a client that asks on and on."""
import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import unittest

from cluster import node
from helm import chart
from lib.gateway import BUILD, PATIENCE, ROOT, SLOW, TOOLS, read_answer, slurp, until

ADDRESS = '198.18.0.1'
NS = 'gateways'


class Balancer(threading.Thread):
    """Asks over and over, each time on a new connection to one of the Service's ready endpoints, as kube-proxy would send it; no retries."""

    def __init__(self, test):
        super().__init__(daemon=True)
        self.test, self.failed, self.answers, self.seen, self.done = test, [], 0, set(), threading.Event()

    def run(self):
        addresses, looked = [], 0.0
        while not self.done.is_set():
            if time.monotonic() - looked > 0.5:  # slower than any kube-proxy
                with contextlib.suppress(OSError, ValueError):  # without an answer kube-proxy goes on with what it knows
                    addresses = self.test.ready_addresses()
                looked = time.monotonic()
            address = random.choice(addresses or ['no endpoint is ready'])
            try:
                status, _, body = self.test.ask(address, 'web.example')
                if status != 200 or not body.endswith(b' v1\n'):
                    self.failed.append((address, status))
            except OSError as e:
                self.failed.append((address, str(e)))
            self.seen.add(address)
            self.answers += 1
            time.sleep(0.003)

    def result(self):
        self.done.set()
        self.join()
        self.test.assertGreater(self.answers, 0)
        return self.failed


class Release(unittest.TestCase):
    """Who uses it sets work, state, env and api (begin_cluster), and defines logs()."""

    @classmethod
    def begin_cluster(cls, name):
        cls.work = tempfile.mkdtemp(prefix=f'sluice-{name}.')
        cls.state = os.path.join(cls.work, 'kube')
        subprocess.run([chart.KUBE, 'up', cls.state], check=True, env=dict(os.environ, KUBE_ADDR=ADDRESS, KUBE_PORT='6443'))
        cls.env = {'KUBECONFIG': os.path.join(cls.state, 'admin.kubeconfig')}
        cls.api = node.connect(cls.state)

    @classmethod
    def end_cluster(cls):
        subprocess.run([chart.KUBE, 'down', cls.state], check=False)
        shutil.rmtree(cls.work, ignore_errors=True)

    def logs(self):
        return ''

    def kubectl(self, *args, stdin=None):
        done = subprocess.run([os.path.join(self.state, 'kubectl'), *args], input=stdin, capture_output=True, text=True, env={**os.environ, **self.env})
        self.assertEqual(done.returncode, 0, f'kubectl {args}: {done.stderr}')
        return done.stdout

    def apply(self, *items):
        self.kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': items}))

    def helm(self, *args):
        code, out, wrong = chart.helm(*args, '--namespace', NS, env=self.env)
        self.assertEqual(code, 0, wrong + self.logs())
        return out

    def until(self, check, what, seconds=30):
        # What is not there yet may be a list without its element, or text that is no JSON.
        until(check, seconds * SLOW, what, self.logs, (OSError, AssertionError, LookupError, ValueError), 0.05)

    def crds_established(self):
        node.crds_established([os.path.join(self.state, 'kubectl')], *node.OWN_CRDS, env={**os.environ, **self.env})

    def only_address(self, service='web-sluice'):
        self.until(lambda: len(self.ready_addresses(service)) == 1, f'{service} has one Pod')
        [address] = self.ready_addresses(service)
        return address

    @staticmethod
    def ask(address, host, path='/', port=8080, headers=()):
        with socket.create_connection((address, port), timeout=PATIENCE) as s:
            s.sendall(f'GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{"".join(f"{k}: {v}" + chr(13) + chr(10) for k, v in headers)}\r\n'.encode())
            return read_answer(s)

    def ready_addresses(self, service='web-sluice'):
        slices = self.api.call('GET', f'/apis/discovery.k8s.io/v1/namespaces/{NS}/endpointslices?labelSelector=kubernetes.io/service-name%3D{service}')['items']
        return sorted(a for one in slices for e in one.get('endpoints') or [] if e['conditions'].get('ready') for a in e['addresses'])

    def everywhere(self, check, what):
        for address in self.ready_addresses():
            self.until(lambda: check(address), f'{what} at {address}')

    def metric(self, address, port, name, *labels):
        text = self.ask(address, 'admin', '/metrics', port)[2].decode()
        return [float(line.rsplit(' ', 1)[1]) for line in text.splitlines() if line.startswith(name) and all(one in line for one in labels)]

    def shell(self, text):
        """As a person types it who stands in a clone."""
        env = {**os.environ, **self.env, **chart.home()[1], 'PATH': self.state + os.pathsep + os.environ['PATH']}
        done = subprocess.run(['bash', '-ec', text], cwd=self.work, env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr + self.logs())
        return done.stdout

    def documented(self):
        """The commands of docs/install.md as they stand there: (the five of the first steps, the look at the result). What they read of the clone lies beside
        them, with the test's own backend as image."""
        section = slurp(os.path.join(ROOT, 'docs', 'install.md')).split('## First steps')[1].split('\n## ')[0]
        install, look = re.findall(r'```sh\n(.*?)```', section, re.S)
        self.assertEqual([line.split()[0] for line in install.splitlines()], ['openssl', 'helm', 'kubectl', 'kubectl', 'kubectl'], 'one command a line')
        self.assertNotRegex(install, r'[|;&<]|\$\(', 'each is one command')
        os.symlink(os.path.join(ROOT, 'helm'), os.path.join(self.work, 'helm'))
        os.makedirs(os.path.join(self.work, 'examples', 'hello'))
        example = slurp(os.path.join(ROOT, 'examples', 'hello', 'hello.yaml'))
        self.assertEqual(example.count('image: nginx'), 1)
        with open(os.path.join(self.work, 'examples', 'hello', 'hello.yaml'), 'w') as f:
            f.write(example.replace('image: nginx', 'image: "origin:hello"'))
        return install.replace('--for=condition=Programmed', '--for=condition=Programmed --timeout=120s'), look  # kubectl's own 30 s are short on a busy machine


class Played(Release):
    """With the node of node.py, which runs Pods of the image "sluice" as their spec says. NAME: of the work folder."""

    @classmethod
    def setUpClass(cls):
        cls.begin_cluster(cls.NAME)
        cls.node = node.Node(cls.api, os.path.join(TOOLS, 'origin'), images={'sluice': cls.unpacked_image()}, folder=os.path.join(cls.work, 'pods'), server=(ADDRESS, '6443'))
        cls.node.start()

    @classmethod
    def unpacked_image(cls):
        """What hack/image makes of the build, as a container runtime finds it."""
        whole, root = os.path.join(cls.work, 'image.tar'), os.path.join(cls.work, 'image')
        subprocess.run([os.path.join(ROOT, 'hack', 'image'), whole, '--build', BUILD], check=True)
        with tarfile.open(whole) as image:
            blob = lambda descriptor: image.extractfile('blobs/' + descriptor['digest'].replace(':', '/'))
            manifest = json.load(blob(json.load(image.extractfile('index.json'))['manifests'][0]))
            for layer in manifest['layers']:
                with tarfile.open(fileobj=blob(layer), mode='r:gz') as files:
                    files.extractall(root)
        os.chmod(root, 0o755)
        return root

    @classmethod
    def tearDownClass(cls):
        for pod in list(cls.node.pods.values()):
            pod.end(5)
        cls.end_cluster()

    def logs(self):
        return ''.join(f'\n== {pod.name} {one.name}\n' + '\n'.join(slurp(one.log).split('\n')[-15:]) for pod in self.node.pods.values() for one in pod.containers)


def main(file):
    """Runs the tests of a file inside a network namespace of its own."""
    if os.environ.get('SLUICE_IN_NETNS') != '1':
        os.execvpe(chart.KUBE, [chart.KUBE, 'netns', sys.executable, os.path.abspath(file)] + sys.argv[1:], dict(os.environ, SLUICE_IN_NETNS='1'))
    unittest.main(verbosity=2, warnings='ignore')
