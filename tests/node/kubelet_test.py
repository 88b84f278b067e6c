#!/usr/bin/env python3
"""The chart on a real node: kubelet, containerd, runc, CNI, kube-scheduler and kube-proxy around the real API server, the image imported as hack/image wrote it. What
the chart asks for is looked up in /proc, not in objects: seccomp, capabilities, users, mounts. An Ingress, TLS, a Route and a limit through the Service's address; the
namespace refuses what is not `restricted`; a killed container comes back with the last good state; deleted Pods and an upgrade fail no request; ports of the node by a DaemonSet.
Re-runs itself inside `hack/kube netns`; root."""
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from lib.gateway import BUILD, PATIENCE, ROOT, TOOLS, family, ingress, make_certificate, read_answer, route, slurp, tls_secret  # noqa: E402
from cluster import release  # noqa: E402
from cluster.release import ADDRESS, NS  # noqa: E402
from helm import chart  # noqa: E402

BALANCER = '198.19.255.1'  # what a cloud's load balancer would get; kube-proxy takes it to the Pods


class Load(threading.Thread):
    """A client of the Service: on one connection as long as it is let, or each time on a new one; no retries."""

    def __init__(self, keep):
        super().__init__(daemon=True)
        self.keep, self.failed, self.answers, self.connections, self.done = keep, [], 0, 0, threading.Event()

    def run(self):
        s = None
        while not self.done.is_set():
            try:
                if s is None:
                    s = socket.create_connection((BALANCER, 80), timeout=PATIENCE)
                    self.connections += 1
                s.sendall(b'GET / HTTP/1.1\r\nHost: web.example\r\n' + (b'\r\n' if self.keep else b'Connection: close\r\n\r\n'))
                status, headers, body = read_answer(s)
                if status != 200 or not body.endswith(b' v1\n'):
                    self.failed.append((status, body))
                if headers.get('connection', '').lower() == 'close':
                    s.close()
                    s = None
            except OSError as e:
                self.failed.append(str(e))
                s = None
            self.answers += 1
            time.sleep(0.004)


class Kubelet(release.Release):
    @classmethod
    def setUpClass(cls):
        can = subprocess.run([chart.KUBE, 'can-node'], capture_output=True, text=True)
        if can.returncode != 0:
            raise unittest.SkipTest(can.stderr.strip())
        cls.begin_cluster('kubelet')
        image = os.path.join(ROOT, 'hack', 'image')
        tars = []
        for name, more in (('sluice:0.1.0', ['--build', BUILD]), ('sluice:next', ['--build', BUILD]), ('origin:hello', ['--only', os.path.join(TOOLS, 'origin'), '80', '1', '0.0.0.0', 'hello']),
                           ('origin:v1', ['--only', os.path.join(TOOLS, 'origin'), '8000', '1', '0.0.0.0', 'v1'])):
            tars.append(os.path.join(cls.work, name.replace(':', '-') + '.tar'))
            subprocess.run([image, tars[-1], '--name', name, *more], check=True)
        subprocess.run([chart.KUBE, 'node', cls.state, *tars], check=True)

    @classmethod
    def tearDownClass(cls):
        keep = os.environ.get('SLUICE_KEEP_LOGS')
        if keep:
            subprocess.run(f'mkdir -p {keep}; cp {cls.state}/*.log {keep}/; cp -r {cls.state}/node/podlogs {keep}/', shell=True, check=False)
        cls.end_cluster()

    def logs(self):
        """What is known of the Pods that are not well, and the last lines of every container of ours."""
        ask = lambda *args: subprocess.run([os.path.join(self.state, 'kubectl'), *args], capture_output=True, text=True, env={**os.environ, **self.env}).stdout
        return '\n' + ask('get', 'pods', '-A', '-o', 'wide') + ask('get', 'events', '-A', '--field-selector', 'type=Warning') + ask(
            'logs', '-n', NS, '-l', 'app.kubernetes.io/name=sluice', '--all-containers', '--prefix', '--tail', '15')

    def pods(self, namespace=NS, instance='web'):
        """Of a release, those that are not about to end."""
        items = json.loads(self.kubectl('get', 'pods', '-n', namespace, '-l', f'app.kubernetes.io/instance={instance}', '-o', 'json'))['items']
        return [one for one in items if 'deletionTimestamp' not in one['metadata']]

    @staticmethod
    def processes(program):
        """Pids whose program that is and whose parent's is not: one for each container."""
        programs = {}
        for pid in filter(str.isdigit, os.listdir('/proc')):
            try:
                programs[int(pid)] = os.path.basename(os.readlink(f'/proc/{pid}/exe'))
            except OSError:
                pass
        parent = lambda pid: int(re.search(r'^PPid:\t(\d+)', slurp(f'/proc/{pid}/status'), re.M)[1])
        return [pid for pid, name in programs.items() if name == program and programs.get(parent(pid)) != program]

    # ---- what is looked at, in this order

    def first_steps(self):
        """The five commands of docs/install.md, then its look at the result, through the address of the Service."""
        install, look = self.documented()
        self.shell(install.replace('REGISTRY/sluice', 'sluice --set preStopSeconds=5 --set workers=2 --set timeouts.drain=20s'))
        self.assertEqual(len(self.pods()), 2)
        self.kubectl('patch', 'service', 'web-sluice', '-n', NS, '--subresource=status', '--type=merge', '-p', json.dumps({'status': {'loadBalancer': {'ingress': [{'ip': BALANCER}]}}}))
        self.until(lambda: BALANCER in self.kubectl('get', 'ingress', 'hello'), 'the Ingress says where it is reached')
        ask = lambda: self.shell(look.replace('ADDRESS', BALANCER)).lower()
        self.until(lambda: ' hello\n' in ask(), 'the Ingress answers over TLS', 60)
        self.assertIn('ratelimit-policy: "hello.per-client";q=20', ask())

    def confined(self):
        """As the kernel sees the containers' processes."""
        mounts = {}
        for program, uid in (('sluice-controlplane', '10001'), ('sluice-dataplane', '10002')):
            found = self.processes(program)
            self.assertEqual(len(found), 2, program)
            for pid in [one for first in found for one in family(first)]:
                status = dict(line.split(':\t', 1) for line in slurp(f'/proc/{pid}/status').splitlines() if ':\t' in line)
                self.assertEqual((status['Uid'].split(), status['Gid'].split()), ([uid] * 4, [uid] * 4))
                self.assertIn('10000', status['Groups'].split())
                self.assertEqual([int(status[one], 16) for one in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')], [0] * 5)
                self.assertEqual((status['NoNewPrivs'], status['Seccomp']), ('1', '2'), f'{program}: seccomp 2 is a filter')
            mounts[program] = {line.split()[4]: line.split()[5].split(',') for line in slurp(f'/proc/{found[0]}/mountinfo').splitlines()}
            self.assertIn('ro', mounts[program]['/'])
        token = '/run/secrets/kubernetes.io/serviceaccount'
        ours = lambda program: [one for one in mounts[program] if 'secrets' in one]
        self.assertEqual((len(ours('sluice-controlplane')), ours('sluice-dataplane')), (1, []))
        self.assertTrue(ours('sluice-controlplane')[0].endswith(token), mounts)
        self.assertIn('ro', mounts['sluice-controlplane'][ours('sluice-controlplane')[0]])
        self.assertNotIn('/etc/sluice', mounts['sluice-dataplane'])

    def exec(self):
        pod = self.pods()[0]['metadata']['name']
        for one in ('controlplane', 'dataplane'):
            self.assertRegex(self.kubectl('exec', '-n', NS, pod, '-c', one, '--', 'sluice', 'version'), r'sluice \d+\.\d+')
            self.assertRegex(self.kubectl('exec', '-n', NS, pod, '-c', one, '--', 'sluice', 'status'), f'(?m)^plane: {one.removesuffix("plane")}$')
            shell = subprocess.run([os.path.join(self.state, 'kubectl'), 'exec', '-n', NS, pod, '-c', one, '--', 'sh', '-c', 'true'], capture_output=True, text=True, env={**os.environ, **self.env})
            self.assertNotEqual(shell.returncode, 0, 'the image has a shell')

    def operator(self):
        """The commands of docs/operations.md, in Pods without a shell."""
        guide = slurp(os.path.join(ROOT, 'docs', 'operations.md')).split('## Looking inside')[1]
        [text] = re.findall(r'```sh\n(.*?)```', guide.split('\n## ')[0], re.S)
        self.shell(text)
        ask = lambda plane, *args: self.kubectl('exec', '-n', NS, 'deployment/web-sluice', '-c', plane, '--', 'sluice', *args)
        self.assertRegex(ask('dataplane', 'status'), r'(?s)ready: true.*secret: default/hello-tls\n +hosts: hello.example')
        self.assertRegex(ask('controlplane', 'status'), r'(?s)api_server_connected: true.*problems: -')
        table = ask('dataplane', 'table', 'hello.example')
        for word in ('hello.example', 'Ingress default/hello', ':80'):
            self.assertIn(word, table)
        dump = ask('dataplane', 'dump') + ask('controlplane', 'dump')
        self.assertNotIn(slurp(os.path.join(self.work, 'tls.key')).split('\n')[1], dump)
        self.assertNotIn('PRIVATE KEY', dump)
        for plane in ('dataplane', 'controlplane'):
            self.assertIn('debug', ask(plane, 'log-level', 'debug'))
            self.assertIn('info', ask(plane, 'log-level', 'info'))

    def serves(self):
        labels = {'app': 'web'}
        self.apply({'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'web', 'namespace': 'default'}, 'spec': {
                        'replicas': 2, 'selector': {'matchLabels': labels}, 'template': {'metadata': {'labels': labels}, 'spec': {
                            'terminationGracePeriodSeconds': 1, 'containers': [{'name': 'c', 'image': 'origin:v1', 'ports': [{'containerPort': 8000}]}]}}}},
                   {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'web', 'namespace': 'default'},
                    'spec': {'selector': labels, 'ports': [{'name': 'http', 'port': 80, 'targetPort': 8000}]}},
                   ingress('web', 'web.example', 'web'))
        self.until(lambda: self.ask(BALANCER, 'web.example', port=80)[2].endswith(b' v1\n'), 'the Ingress answers', 60)
        cert, key = make_certificate(self.work, 'tls.example')
        self.apply(tls_secret('web-tls', cert, key), ingress('tls', 'tls.example', 'web', tls='web-tls'))
        context = ssl.create_default_context(cafile=cert)

        def secure():
            with socket.create_connection((BALANCER, 443), timeout=PATIENCE) as raw, context.wrap_socket(raw, server_hostname='tls.example') as s:
                s.sendall(b'GET / HTTP/1.1\r\nHost: tls.example\r\nConnection: close\r\n\r\n')
                return read_answer(s)[0] == 200
        for _ in range(6):  # either Pod
            self.until(secure, 'TLS with the certificate of the Secret')
            self.until(lambda: self.ask(BALANCER, 'tls.example', port=80)[0] == 308, 'plain requests are sent to https')
        self.apply(route('shop', ['shop.example'], [{'name': 'all', 'backendRefs': [{'name': 'web', 'port': 80}]}]))
        self.kubectl('wait', 'route/shop', '--for=condition=Programmed', '--timeout=120s')
        self.until(lambda: self.ask(BALANCER, 'shop.example', port=80)[0] == 200, 'the Route answers')

    def limits(self):
        """Each Pod admits its burst, then answers 429; /metrics of both planes counts it."""
        self.apply(ingress('limited', 'limited.example', 'web'), {
            'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'few', 'namespace': 'default'}, 'spec': {
                'targetRefs': [{'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'limited'}], 'limits': [{'name': 'day', 'requests': 5, 'per': '24h', 'keys': [{'type': 'ClientIP'}]}]}})
        self.kubectl('wait', 'ratelimitpolicy/few', '--for=condition=Programmed', '--timeout=120s')
        for address in self.ready_addresses():
            self.until(lambda: self.ask(address, 'limited.example')[0] in (200, 429), 'the limited Ingress answers')
            last = [self.ask(address, 'limited.example') for _ in range(12)][-1]
            self.assertEqual((last[0], int(last[1]['retry-after']) > 3600), (429, True))
            counted = lambda decision: self.metric(address, 9090, 'sluice_rate_limit_decisions_total', 'limit="default/few/day"', f'decision="{decision}"')
            self.until(lambda: counted('admitted') == [5] and counted('limited')[0] >= 7, 'both are counted')  # the last answer may be here before
            self.assertEqual(self.metric(address, 9091, 'sluice_controlplane_api_connected'), [1.0])

    def restricted(self):
        """The strictest Pod Security level from now on: the Pods that follow are let in, and what is not so confined is not."""
        self.kubectl('label', 'namespace', NS, 'pod-security.kubernetes.io/enforce=restricted')
        bad = subprocess.run([os.path.join(self.state, 'kubectl'), 'run', 'loose', '-n', NS, '--image=origin:v1'], capture_output=True, text=True, env={**os.environ, **self.env})
        self.assertIn('violates PodSecurity', bad.stderr)

    def container_comes_back(self):
        """The data plane's first process killed: the kubelet starts the container again, and it answers from what the emptyDir holds."""
        before = {one['metadata']['name'] for one in self.pods()}
        os.kill(self.processes('sluice-dataplane')[0], signal.SIGKILL)
        restarts = lambda: sorted(c['restartCount'] for one in self.pods() for c in one['status']['containerStatuses'] if c['name'] == 'dataplane')
        self.until(lambda: restarts() == [0, 1], 'the container is started again', 60)
        self.until(lambda: len(self.ready_addresses()) == 2, 'its Pod is ready again', 60)
        for address in self.ready_addresses():
            self.assertEqual(self.ask(address, 'web.example')[0], 200)
        self.assertEqual({one['metadata']['name'] for one in self.pods()}, before)

    def under_load(self, replace):
        """Every Pod is replaced meanwhile; no request fails, on new connections and on kept ones, through kube-proxy."""
        before = {one['metadata']['name'] for one in self.pods()}
        load = [Load(False), Load(True), Load(True)]
        for one in load:
            one.start()
        time.sleep(1)
        replace(sorted(before))
        self.until(lambda: len(self.ready_addresses()) == 2 and not {one['metadata']['name'] for one in self.pods()} & before, 'both Pods are new', 60)
        time.sleep(1)
        for one in load:
            one.done.set()
            one.join()
            self.assertEqual(one.failed, [], f'of {one.answers}')
            self.assertGreater(one.answers, 0)

    def pods_are_deleted(self):
        """preStop, then the drain, while kube-proxy takes the Pod out."""
        def one_by_one(names):
            for name in names:
                start = time.monotonic()
                self.kubectl('delete', 'pod', '-n', NS, name, '--wait=true', '--timeout=90s')
                self.assertLess(time.monotonic() - start, 35, 'the grace period has cut the drain')
                self.until(lambda: len(self.ready_addresses()) == 2, 'a new Pod is ready', 60)
        self.under_load(one_by_one)

    def upgrade(self):
        self.under_load(lambda _: self.helm('upgrade', 'web', chart.CHART, '--reset-then-reuse-values', '--set', 'image.tag=next', '--wait', '--timeout', '3m'))
        self.assertEqual({c['image'] for one in self.pods() for c in one['spec']['containers']}, {'sluice:next'})

    def ports_of_the_node(self):
        """A second release with a class of its own: a DaemonSet that has ports of the node."""
        self.kubectl('create', 'namespace', 'edge')
        code, _, wrong = chart.helm('install', 'edge', chart.CHART, '-n', 'edge', '--wait', '--timeout', '3m', '--set', 'kind=DaemonSet', '--set', 'hostPort.enabled=true', '--set', 'service.enabled=false',
                                    '--set', 'ingressClass.name=edge', '--set', 'preStopSeconds=0', '--set', 'dataPlane.resources.limits.cpu=1', env=self.env)
        self.assertEqual(code, 0, wrong + self.logs())
        one = ingress('edge', 'edge.example', 'web')
        one['spec']['ingressClassName'] = 'edge'
        self.apply(one)
        self.until(lambda: self.ask(ADDRESS, 'edge.example', port=80)[0] == 200, 'a port of the node answers', 60)
        [pod] = self.pods('edge', 'edge')
        self.assertEqual(self.metric(pod['status']['podIP'], 9090, 'sluice_workers_ready'), [1.0], 'as many as its CPU limit, not as the node has')
        self.assertEqual(self.ask(ADDRESS, 'web.example', port=80)[0], 404)
        self.assertEqual(self.ask(BALANCER, 'edge.example', port=80)[0], 404)
        self.assertEqual(chart.helm('uninstall', 'edge', '-n', 'edge', '--wait', '--timeout', '2m', env=self.env)[0], 0)

        def closed():
            try:
                socket.create_connection((ADDRESS, 80), timeout=2).close()
            except OSError:
                return True
        self.until(closed, 'the port of the node is free again', 60)

    def ends(self):
        self.helm('uninstall', 'web', '--wait', '--timeout', '2m')
        self.until(lambda: not self.processes('sluice-dataplane') and not self.processes('sluice-controlplane'), 'nothing of it runs', 90)

    def test_life_of_a_release(self):
        for step in (self.first_steps, self.confined, self.exec, self.operator, self.serves, self.limits, self.restricted, self.container_comes_back, self.pods_are_deleted, self.upgrade, self.ports_of_the_node, self.ends):
            start = time.monotonic()
            step()
            print(f'{step.__name__}: {time.monotonic() - start:.1f} s', file=sys.stderr)


if __name__ == '__main__':
    release.main(__file__)
