#!/usr/bin/env python3
"""The chart installed by the commands of docs/install.md (`helm install --wait`) on a real API server, its Pods run as their spec says (pod.py) from the image that
hack/image makes: two replicas serve an Ingress, plain and with TLS, a Route, and a RateLimitPolicy; only the control plane sees a token; a killed control plane costs
nothing; `helm upgrade --wait` and the drain of a node under load fail no request; uninstalling leaves nothing that runs. Re-runs itself inside `hack/kube netns`."""
import json
import os
import socket
import ssl
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from lib.gateway import PATIENCE, SLOW, family, ingress, make_certificate, read_answer, route, sluice, slurp, tls_secret  # noqa: E402
from cluster import release  # noqa: E402
from cluster.release import ADDRESS, NS, Balancer  # noqa: E402
from helm import chart  # noqa: E402


class Install(release.Played):
    NAME = 'install'

    # ---- what is looked at, in this order

    def first_steps(self):
        """The commands of docs/install.md as they stand there, but for the images, a quicker end of Pods, and the address."""
        install, look = self.documented()
        out = self.shell(install.replace('REGISTRY/sluice', 'sluice --set preStopSeconds=3 --set workers=2 --set timeouts.drain=20s'))
        self.assertIn('kubectl rollout status', out)
        status = json.loads(self.kubectl('get', 'deployment', 'web-sluice', '-n', NS, '-o', 'json'))['status']
        self.assertEqual((status['readyReplicas'], status['availableReplicas']), (2, 2))
        self.until(lambda: len(self.ready_addresses()) == 2, 'the Service has both Pods')  # their controller is another one than helm waits for
        for address in self.ready_addresses():
            ask = lambda: self.shell(look.replace('ADDRESS:443', f'{address}:8443')).lower()
            self.until(lambda: ' hello\n' in ask(), f'a live Pod answers over TLS at {address}')
            self.assertIn('ratelimit-policy: "hello.per-client";q=20', ask())

    def isolation(self):
        for pod in self.node.pods.values():
            mounts = {}
            for one, uid in zip(pod.containers, ('10001', '10002')):
                processes = family(one.proc.pid)
                self.assertGreater(len(processes), {'controlplane': 0, 'dataplane': 2}[one.name])
                mounts[one.name] = {line.split()[4]: line.split()[5] for line in slurp(f'/proc/{one.proc.pid}/mountinfo').splitlines()}
                for pid in processes:
                    status = dict(line.split(':\t', 1) for line in slurp(f'/proc/{pid}/status').splitlines() if ':\t' in line)
                    self.assertEqual(status['Uid'].split(), [uid] * 4)
                    self.assertEqual((int(status['CapEff'], 16), int(status['CapBnd'], 16), status['NoNewPrivs']), (0, 0, '1'))
                self.assertTrue(mounts[one.name]['/'].startswith('ro'), mounts)
                # `kubectl exec -c CONTAINER -- sluice status` finds its own plane and no other.
                code, said, wrong = sluice('status', '--json', '--socket', f'/proc/{one.proc.pid}/root/run/sluice-admin/admin.sock')
                self.assertEqual((code, wrong), (0, ''))
                said = json.loads(said)
                self.assertEqual((said['plane'] + 'plane', said['ready']), (one.name, True))
            token = '/var/run/secrets/kubernetes.io/serviceaccount'
            self.assertTrue(mounts['controlplane'][token].startswith('ro'))
            self.assertEqual([m for m in mounts['dataplane'] if 'secrets' in m or m.startswith('/etc')], [])
            self.assertTrue(mounts['dataplane']['/run/sluice'].startswith('ro'))
            # The socket lets in the group and asks for the uid: who has the group alone is turned away.
            push = os.path.join(pod.volume('push'), 'push.sock')
            ask = f'import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect({push!r}); s.settimeout(10); print(len(s.recv(4096)))'
            self.allow_walk(push)
            stranger = subprocess.run(['setpriv', '--reuid', '10003', '--regid', '10003', '--groups', str(pod.group), sys.executable, '-c', ask], capture_output=True, text=True)
            self.assertTrue(stranger.stdout.strip() == '0' or 'ConnectionResetError' in stranger.stderr, stranger)
            outsider = subprocess.run(['setpriv', '--reuid', '10002', '--regid', '10002', '--clear-groups', sys.executable, '-c', ask], capture_output=True, text=True)
            self.assertIn('PermissionError', outsider.stderr)

    def allow_walk(self, path):
        """Others may walk through the test's own folders to what is inside; in a Pod only the volume itself is seen."""
        folder = os.path.dirname(os.path.dirname(path))
        while folder != os.path.dirname(self.work):
            os.chmod(folder, 0o755)
            folder = os.path.dirname(folder)

    def serves(self):
        labels = {'app': 'web'}
        self.apply({'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'web', 'namespace': 'default'}, 'spec': {
                        'replicas': 2, 'selector': {'matchLabels': labels}, 'template': {'metadata': {'labels': labels}, 'spec': {
                            'automountServiceAccountToken': False, 'containers': [{'name': 'c', 'image': 'origin:v1', 'ports': [{'containerPort': 8000}]}]}}}},
                   {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'web', 'namespace': 'default'},
                    'spec': {'selector': labels, 'ports': [{'name': 'http', 'port': 80, 'targetPort': 8000}]}},
                   ingress('web', 'web.example', 'web'))
        self.everywhere(lambda a: self.ask(a, 'web.example')[2].endswith(b' v1\n'), 'the Ingress answers')
        cert, key = make_certificate(self.work, 'tls.example')
        self.apply(tls_secret('web-tls', cert, key), ingress('tls', 'tls.example', 'web', tls='web-tls'))
        context = ssl.create_default_context(cafile=cert)

        def secure(address):
            with socket.create_connection((address, 8443), timeout=PATIENCE) as raw, context.wrap_socket(raw, server_hostname='tls.example') as s:
                s.sendall(b'GET / HTTP/1.1\r\nHost: tls.example\r\nConnection: close\r\n\r\n')
                return read_answer(s)[0] == 200
        self.everywhere(secure, 'TLS with the certificate of the Secret')
        self.everywhere(lambda a: self.ask(a, 'tls.example')[0] == 308, 'plain requests are sent to https')
        self.apply(route('shop', ['shop.example'], [{'name': 'all', 'backendRefs': [{'name': 'web', 'port': 80}]}]))
        self.kubectl('wait', 'route/shop', '--for=condition=Programmed', '--timeout=120s')
        self.everywhere(lambda a: self.ask(a, 'shop.example')[0] == 200, 'the Route answers')
        self.apply(ingress('broken', 'broken.example', 'missing'))
        self.until(lambda: 'missing' in self.kubectl('get', 'events', '--field-selector', 'involvedObject.name=broken,source=sluice.dev/ingress-controller', '-o', 'json'), 'an Event tells of it')

    def limits(self):
        """A RateLimitPolicy on an Ingress: each replica admits its burst, then answers 429; both are counted in /metrics."""
        self.apply(ingress('limited', 'limited.example', 'web'), {
            'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'few', 'namespace': 'default'}, 'spec': {
                'targetRefs': [{'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'limited'}], 'limits': [{'name': 'day', 'requests': 5, 'per': '24h', 'keys': [{'type': 'ClientIP'}]}]}})
        self.kubectl('wait', 'ratelimitpolicy/few', '--for=condition=Programmed', '--timeout=120s')
        for address in self.ready_addresses():
            self.until(lambda: self.ask(address, 'limited.example')[0] in (200, 429), 'the limited Ingress answers')  # the other replica may be later
            answers = [self.ask(address, 'limited.example') for _ in range(12)]
            counted = lambda decision: self.metric(address, 9090, 'sluice_rate_limit_decisions_total', 'limit="default/few/day"', f'decision="{decision}"')
            self.until(lambda: counted('admitted') == [5] and counted('limited')[0] >= 7, 'both are counted')  # the last answer may be here before
            status, headers, body = answers[-1]
            self.assertEqual((status, {s for s, _, _ in answers}), (429, {200, 429}))
            self.assertGreater(int(headers['retry-after']), 3600)
            self.assertIn('r=0', headers['ratelimit'])
            self.assertIn(b'rate_limited', body)

    def has_the_rights(self):
        """The ServiceAccount's own token did all that: nothing was refused to it."""
        for pod in self.node.pods.values():
            log = slurp(pod.containers[0].log)
            self.assertNotIn('answered 403', log)
            self.assertNotIn('orbidden', log)
            self.assertEqual(set(self.metric(pod.address, 9091, 'sluice_controlplane_kind_listed')), {1.0})
            self.assertEqual(self.metric(pod.address, 9091, 'sluice_controlplane_api_connected'), [1.0])
            self.assertGreater(sum(self.metric(pod.address, 9090, 'sluice_requests_total')), 0)

    def second_release(self):
        """A class of its own, one namespace by a Role: it serves that and nothing of the first release, and is refused nothing."""
        self.helm('install', 'mobile', chart.CHART, '--wait', '--timeout', '2m', '--set', 'ingressClass.name=mobile', '--set', 'watchNamespaces={default}', '--set', 'replicas=1',
                  '--set', 'preStopSeconds=0')
        address = self.only_address('mobile-sluice')
        mobile = ingress('mobile', 'mobile.example', 'web')
        mobile['spec']['ingressClassName'] = 'mobile'
        self.apply(mobile)
        self.until(lambda: self.ask(address, 'mobile.example')[0] == 200, 'the second class is served')
        self.assertEqual(self.ask(address, 'web.example')[0], 404)
        for first in self.ready_addresses():
            self.assertEqual((self.ask(first, 'mobile.example')[0], self.ask(first, 'web.example')[0]), (404, 200))
        self.has_the_rights()
        self.helm('uninstall', 'mobile', '--wait', '--timeout', '2m')
        self.until(lambda: len(self.node.pods) == 2, 'its Pod has ended', 90)

    def control_plane_is_replaced(self):
        load = Balancer(self)
        load.start()
        pod = next(iter(self.node.pods.values()))
        pod.containers[0].proc.kill()
        self.until(lambda: pod.containers[0].restarts == 1 and pod.containers[0].proc.poll() is None, 'the control plane is started again')
        self.apply(ingress('later', 'later.example', 'web'))
        self.until(lambda: self.ask(pod.address, 'later.example')[0] == 200, 'the new control plane is heard')
        self.assertEqual(load.result(), [])
        self.assertEqual(pod.containers[1].restarts, 0)

    def options_reach_running_pods(self):
        pods = set(self.node.pods)
        self.helm('upgrade', 'web', chart.CHART, '--reuse-values', '--set', 'limits.requestLine=1Ki', '--wait', '--timeout', '2m')
        self.everywhere(lambda a: self.ask(a, 'web.example', '/' + 'x' * 2000)[0] == 414, 'the new limit')
        self.assertEqual(set(self.node.pods), pods)

    def replaced_without_a_failed_request(self, replace):
        before, load = set(self.node.pods), Balancer(self)
        load.start()
        replace()
        self.until(lambda: len(self.node.pods) == 2 and not before & set(self.node.pods), 'the old Pods are gone', 90)
        self.until(lambda: len(load.seen) == 4, 'the old ones and the new ones were asked')
        time.sleep(1)
        self.assertEqual(load.result(), [], f'of {load.answers}')
        self.assertEqual(len(load.seen), 4)
        self.assertEqual(self.node.cut, [], 'Pods that the grace period cut')

    def upgrade(self):
        self.helm('upgrade', 'web', chart.CHART, '--reuse-values', '--set', 'image.tag=next', '--wait', '--timeout', '4m')

    def drain(self):
        """What `kubectl drain` does with the Pods of a node: each is evicted as soon as the PodDisruptionBudget lets it go."""
        refused = 0
        for name in list(self.node.pods):
            eviction = json.dumps({'apiVersion': 'policy/v1', 'kind': 'Eviction', 'metadata': {'name': name, 'namespace': NS}})
            end = time.monotonic() + 60 * SLOW
            while (done := subprocess.run([os.path.join(self.state, 'kubectl'), 'create', '--raw', f'/api/v1/namespaces/{NS}/pods/{name}/eviction', '-f', '-'], input=eviction,
                                          capture_output=True, text=True, env={**os.environ, **self.env})).returncode != 0:
                self.assertIn('disruption budget', done.stderr)
                self.assertLess(time.monotonic(), end, done.stderr)
                refused += 1
                time.sleep(0.2)
        self.assertGreater(refused, 0, 'the budget has held nothing back')

    def ends(self):
        self.helm('uninstall', 'web', '--wait', '--timeout', '2m')
        self.until(lambda: not self.node.pods, 'every Pod has ended', 90)
        self.assertEqual(self.node.cut, [])
        self.assertEqual(self.kubectl('get', 'routes', '-A', '-o', 'name').split(), ['route.sluice.dev/shop'])

    def test_life_of_a_release(self):
        self.first_steps()
        self.isolation()
        self.serves()
        self.limits()
        self.has_the_rights()
        self.second_release()
        self.control_plane_is_replaced()
        self.options_reach_running_pods()
        self.replaced_without_a_failed_request(self.upgrade)
        self.replaced_without_a_failed_request(self.drain)
        self.ends()


if __name__ == '__main__':
    release.main(__file__)
