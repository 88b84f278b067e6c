#!/usr/bin/env python3
"""End to end on a real kube-apiserver, etcd and controller manager, with live pods in network namespaces: creation, change, Route with status, rollout under
load, certificate rotation, problems told as Events, deletion. Re-runs itself inside `hack/kube netns`, where nothing can reach or be reached from outside."""
import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from lib.gateway import BIN, PATIENCE, ROOT, SLOW, TOOLS, end_processes, ingress, make_certificate, read_answer, route, tls_secret, until  # noqa: E402
from cluster import node  # noqa: E402

ADDRESS = '198.18.0.1'
KUBE = os.path.join(ROOT, 'hack', 'kube')


class Cluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix='sluice-e2e.')
        cls.state = os.path.join(cls.work, 'kube')
        env = dict(os.environ, KUBE_ADDR=ADDRESS, KUBE_PORT='6443')
        subprocess.run([KUBE, 'up', cls.state], check=True, env=env)
        cls.kubeconfig = os.path.join(cls.state, 'admin.kubeconfig')
        cls.api = node.connect(cls.state)
        node.Node(cls.api, os.path.join(TOOLS, 'origin')).start()
        cls.log = open(os.path.join(cls.work, 'log'), 'w+')
        cls.kubectl('apply', '--server-side', '-f', os.path.join(ROOT, 'crds'))
        node.crds_established([os.path.join(cls.state, 'kubectl'), '--kubeconfig', cls.kubeconfig], *node.OWN_CRDS)
        cls.apply([{'apiVersion': 'networking.k8s.io/v1', 'kind': 'IngressClass', 'metadata': {'name': 'sluice'}, 'spec': {'controller': 'sluice.dev/ingress-controller'}}])
        sock, config = os.path.join(cls.work, 'push.sock'), os.path.join(cls.work, 'config.yaml')
        with open(config, 'w') as f:
            f.write('tls: {ticketKeysSecret: default/ticket-keys}\npublishService: default/gateway\n')
        cls.control = subprocess.Popen([os.path.join(BIN, 'sluice-controlplane'), '--kubeconfig', cls.kubeconfig, '--socket', sock, '--http-port', '8080', '--https-port', '8443',
                                        '--bind', ADDRESS, '--workers', '2', '--config', config, '--admin-port', '9091', '--admin-bind', ADDRESS],
                                       stdout=cls.log, stderr=cls.log)
        cls.data = subprocess.Popen([os.path.join(BIN, 'sluice-dataplane'), '--socket', sock, '--state', os.path.join(cls.work, 'state'), '--admin-port', '9090', '--admin-bind', ADDRESS],
                                    stdout=cls.log, stderr=cls.log)
        cls.wait(lambda: cls.ask('/', port=9090, path='/readyz')[0] == 200, 'the gateway is ready', 40)

    @classmethod
    def tearDownClass(cls):
        end_processes(cls.control, cls.data)
        subprocess.run([KUBE, 'down', cls.state], check=False)
        cls.log.close()
        shutil.rmtree(cls.work, ignore_errors=True)

    @classmethod
    def kubectl(cls, *args, stdin=None, check=True):
        return subprocess.run([os.path.join(cls.state, 'kubectl'), '--kubeconfig', cls.kubeconfig, *args], input=stdin, capture_output=True, text=True, check=check).stdout

    @classmethod
    def apply(cls, objects):
        cls.kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}))

    @classmethod
    def ask(cls, host, path='/', port=8080, headers=()):
        with socket.create_connection((ADDRESS, port), timeout=PATIENCE) as s:
            s.sendall(f'GET {path} HTTP/1.1\r\nHost: {host if host != "/" else "admin"}\r\nConnection: close\r\n{"".join(f"{k}: {v}" + chr(13) + chr(10) for k, v in headers)}\r\n'.encode())
            return read_answer(s)

    @classmethod
    def wait(cls, check, what, seconds=30):
        def tail():
            cls.log.flush()
            return ''.join(open(cls.log.name).readlines()[-40:])
        until(check, seconds * SLOW, what, tail, (OSError, AssertionError, LookupError, ValueError, subprocess.SubprocessError), 0.05)

    @classmethod
    def settled(cls):
        """Every worker runs the newest state: an answer that shows a change tells of one of them."""
        def same():
            control = cls.metrics(9091)
            return control['sluice_controlplane_generation'] == control['sluice_controlplane_acknowledged_generation'] == cls.metrics(9090)['sluice_generation']
        cls.wait(same, 'every worker runs the newest state')

    def deployment(self, name, tag, replicas=2):
        labels = {'app': name}
        return {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': name, 'namespace': 'default'}, 'spec': {
            'replicas': replicas, 'selector': {'matchLabels': labels}, 'strategy': {'rollingUpdate': {'maxUnavailable': 0, 'maxSurge': 1}},
            'template': {'metadata': {'labels': labels}, 'spec': {'terminationGracePeriodSeconds': 5, 'automountServiceAccountToken': False,
                                                                  'containers': [{'name': 'c', 'image': f'origin:{tag}', 'ports': [{'containerPort': 8000}]}]}}}}

    def service(self, name):
        return {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name, 'namespace': 'default'},
                'spec': {'selector': {'app': name}, 'ports': [{'name': 'http', 'port': 80, 'targetPort': 8000}]}}

    @classmethod
    def metrics(cls, port):
        status, _, body = cls.ask('/', port=port, path='/metrics')
        if status != 200:
            raise ConnectionError(f'/metrics: {status}')
        return {name: float(value) for name, value in (line.rsplit(' ', 1) for line in body.decode().splitlines() if line and line[0] != '#')}

    def certificate_of(self, name):
        context = ssl._create_unverified_context()
        with socket.create_connection((ADDRESS, 8443), timeout=PATIENCE) as raw, context.wrap_socket(raw, server_hostname=name) as s:
            return s.getpeercert(binary_form=True)

    def tls_session(self, context, session=None):
        """One request; (its session, whether it was resumed)."""
        with socket.create_connection((ADDRESS, 8443), timeout=PATIENCE) as raw, context.wrap_socket(raw, server_hostname='web.example', session=session) as s:
            s.sendall(b'GET / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n')
            read_answer(s)
            return s.session, s.session_reused

    def use_ticket_key(self, key):
        self.kubectl('patch', 'secret', 'ticket-keys', '-p', json.dumps({'data': {'0': base64.b64encode(key).decode()}}))

    def ticket_keys(self):
        """The Secret is missing at first, and its owner was told; then it is fetched, and again when it changes."""
        self.wait(lambda: 'SecretNotFound' in self.kubectl('get', 'events', '--field-selector', 'involvedObject.name=ticket-keys', '-o', 'json'), 'an Event names the missing Secret')
        context = ssl._create_unverified_context()
        own, _ = self.tls_session(context)
        first, second = os.urandom(80), os.urandom(80)
        path = os.path.join(self.work, 'ticket.key')
        with open(path, 'wb') as f:
            f.write(first)
        self.kubectl('create', 'secret', 'generic', 'ticket-keys', f'--from-file=0={path}')
        self.wait(lambda: not self.tls_session(context, own)[1], 'the keys of the instance are used no more')
        self.settled()
        session, _ = self.tls_session(context)
        self.assertTrue(self.tls_session(context, session)[1])
        self.use_ticket_key(second)
        self.wait(lambda: not self.tls_session(context, session)[1], 'the changed Secret is fetched')
        # Only who has the first key again can resume that.
        self.use_ticket_key(first)
        self.wait(lambda: self.tls_session(context, session)[1], 'the first key opens its tickets again')

    def test_crds_accept_and_refuse(self):
        env = dict(os.environ, KUBECONFIG=self.kubeconfig, PATH=self.state + os.pathsep + os.environ['PATH'])
        done = subprocess.run([sys.executable, os.path.join(ROOT, 'tests', 'crds', 'run')], env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_metrics_of_the_control_plane(self):
        # A name of this test's own: an object more, an event more on an open watch, a state more, and no list.
        self.wait(lambda: self.ask('/', port=9091, path='/readyz')[0] == 200, 'the control plane is ready')
        before = self.metrics(9091)
        kinds = ('Ingress', 'IngressClass', 'Service', 'EndpointSlice', 'Secret', 'ConfigMap', 'Namespace', 'Route', 'RateLimitPolicy')
        for kind in kinds:
            self.assertEqual(before[f'sluice_controlplane_kind_listed{{kind="{kind}"}}'], 1, kind)
            self.assertGreaterEqual(before[f'sluice_controlplane_lists_total{{kind="{kind}"}}'], 1, kind)
        for name in ('ready', 'api_connected', 'dataplane_connected'):
            self.assertEqual(before['sluice_controlplane_' + name], 1, name)
        self.assertEqual(before['sluice_controlplane_dataplane_workers_ready'], 2)
        self.apply([ingress('counted', 'counted.example', 'missing')])
        self.wait(lambda: self.ask('counted.example')[0] == 503, 'the Ingress is there')
        grown = lambda after, name: after.get(name, 0) - before.get(name, 0)
        problem = 'sluice_controlplane_problems{reason="BackendNotFound",severity="error"}'
        self.wait(lambda: grown(self.metrics(9091), problem) == 1, 'its problem is counted')
        after = self.metrics(9091)
        self.assertEqual(grown(after, 'sluice_controlplane_objects{kind="Ingress"}'), 1)
        self.assertGreaterEqual(grown(after, 'sluice_controlplane_watch_events_total{kind="Ingress"}'), 1)
        self.assertEqual(grown(after, 'sluice_controlplane_lists_total{kind="Ingress"}'), 0)
        self.assertGreater(grown(after, 'sluice_controlplane_generation'), 0)
        self.wait(lambda: self.metrics(9091)['sluice_controlplane_acknowledged_generation'] == self.metrics(9090)['sluice_generation'], 'both planes name one generation')
        self.kubectl('delete', 'ingress', 'counted')
        self.wait(lambda: problem not in (now := self.metrics(9091)) or now[problem] == before.get(problem, 0), 'the problem is gone with its object')

    def conditions(self, kind, name):
        return {c['type']: c for c in json.loads(self.kubectl('get', kind, name, '-o', 'json')).get('status', {}).get('conditions', [])}

    def publish(self, *addresses):
        """What a load balancer's controller writes."""
        status = {'status': {'loadBalancer': {'ingress': list(addresses)}}}
        self.kubectl('patch', 'service', 'gateway', '--subresource=status', '--type=merge', '-p', json.dumps(status))

    def test_addresses(self):
        balancer = lambda kind, name: json.loads(self.kubectl('get', kind, name, '-o', 'json')).get('status', {}).get('loadBalancer', {}).get('ingress', [])
        answer = {'name': 'all', 'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': 'hello'}}]}
        foreign = ingress('foreign', 'foreign.example', 'missing')
        foreign['spec']['ingressClassName'] = 'other'
        self.apply([ingress('told', 'told.example', 'missing'), foreign, route('told', ['told-route.example'], [answer]),
                    {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'gateway', 'namespace': 'default'}, 'spec': {
                        'type': 'LoadBalancer', 'allocateLoadBalancerNodePorts': False, 'ports': [{'port': 80}]}}])
        self.kubectl('wait', 'route/told', '--for=condition=Programmed', '--timeout=120s')
        for wanted in ([{'ip': '198.18.7.1'}], [{'ip': '198.18.7.2'}, {'hostname': 'lb.example'}]):
            self.publish(*({**one, 'ports': [{'port': 80, 'protocol': 'TCP'}]} for one in wanted))
            told = sorted(wanted, key=lambda one: one.get('ip', ''))
            for kind in ('ingress', 'route'):
                self.wait(lambda: balancer(kind, 'told') == told, f'the {kind} has the addresses {told}')
        # What people look at, and what Argo CD and external-dns read.
        self.assertIn(' 198.18.7.2,lb.example ', self.kubectl('get', 'ingress', 'told'))
        self.assertEqual(balancer('ingress', 'foreign'), [])
        self.assertEqual(self.conditions('route', 'told')['Programmed']['status'], 'True')
        version = lambda: [self.kubectl('get', kind, 'told', '-o', 'jsonpath={.metadata.resourceVersion}') for kind in ('ingress', 'route')]
        before = version()
        self.kubectl('annotate', 'service', 'gateway', 'changed=yes')
        time.sleep(1)
        self.assertEqual(version(), before, 'the same addresses are not written again')
        self.kubectl('delete', 'service', 'gateway')
        time.sleep(1)
        self.assertEqual(version(), before, 'they stay without the Service')
        self.kubectl('delete', 'ingress', 'told', 'foreign')
        self.kubectl('delete', 'route', 'told')

    def test_rate_limit_policy(self):
        answer = {'name': 'all', 'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': 'hello'}}]}
        self.apply([route('limited', ['limited.example'], [answer])])
        self.kubectl('wait', 'route/limited', '--for=condition=Programmed', '--timeout=120s')
        self.assertNotIn('ratelimit-policy', self.ask('limited.example')[1])
        target = {'group': 'sluice.dev', 'kind': 'Route', 'name': 'limited'}
        policy = lambda burst, *more: {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'limited', 'namespace': 'default'},
                                       'spec': {'targetRefs': [target, *more], 'limits': [{'name': 'all', 'requests': 1, 'per': '1h', 'burst': burst}]}}
        # In force on the wire once it says so: exact to the token.
        self.apply([policy(2)])
        self.kubectl('wait', 'rlp/limited', '--for=condition=Programmed', '--timeout=120s')
        self.assertEqual([self.ask('limited.example')[0] for _ in range(4)], [200, 200, 429, 429])
        status, headers, _ = self.ask('limited.example')
        self.assertTrue(int(headers['retry-after']) > 0 and headers['ratelimit-policy'] == '"limited.all";q=2;w=7200', headers)
        # Changed, with a target that only the operator's namespaces may have: the other still counts.
        self.apply([policy(3, {'group': 'networking.k8s.io', 'kind': 'IngressClass', 'name': 'sluice'})])
        self.wait(lambda: self.conditions('rlp', 'limited').get('PartiallyInvalid', {}).get('reason') == 'RefNotPermitted', 'the class is refused')
        self.kubectl('wait', 'rlp/limited', '--for=condition=Programmed', '--timeout=120s')
        conditions = self.conditions('rlp', 'limited')
        self.assertEqual((conditions['Accepted']['status'], conditions['Programmed']['observedGeneration']), ('True', 2))
        self.assertEqual([self.ask('limited.example')[0] for _ in range(2)], [200, 429], 'the same bucket, one larger')
        ancestors = json.loads(self.kubectl('get', 'rlp', 'limited', '-o', 'json'))['status']['ancestors']
        self.assertEqual([a['ancestorRef'] for a in ancestors], [target])
        self.wait(lambda: 'RefNotPermitted' in self.kubectl('get', 'events', '--field-selector', 'involvedObject.name=limited', '-o', 'json'), 'an Event tells it')
        self.kubectl('delete', 'rlp', 'limited')
        self.wait(lambda: self.ask('limited.example')[0] == 200, 'a deleted policy limits no more')
        self.settled()
        self.assertEqual({self.ask('limited.example')[0] for _ in range(5)}, {200})

    def test_life_of_an_ingress(self):
        # creation: a live pod answers
        self.apply([self.deployment('web', 'v1'), self.service('web'), ingress('web', 'web.example', 'web')])
        self.wait(lambda: self.ask('web.example')[2].endswith(b' v1\n'), 'a live pod answers through the Ingress', 60)
        self.assertEqual(self.ask('other.example')[0], 404)

        # change
        self.apply([ingress('web', 'web.example', 'web', path='/app')])
        self.wait(lambda: self.ask('web.example', '/app')[0] == 200 and self.ask('web.example', '/')[0] == 404, 'the path has moved')

        # Route, its status, and its effect at once after kubectl wait
        self.apply([route('shop', ['shop.example'], [{'name': 'all', 'matches': [{'headers': [{'name': 'x-env', 'value': 'blue'}]}],
                                                      'filters': [{'type': 'ResponseHeaderModifier', 'responseHeaderModifier': {'set': [{'name': 'x-shop', 'value': 'yes'}]}}],
                                                      'backendRefs': [{'name': 'web', 'port': 80}]}])])
        self.kubectl('wait', 'route/shop', '--for=condition=Programmed', '--timeout=120s')
        status, headers, _ = self.ask('shop.example', headers=[('x-env', 'blue')])
        self.assertEqual((status, headers.get('x-shop')), (200, 'yes'))
        self.assertEqual(self.ask('shop.example')[0], 404)
        conditions = {c['type']: c for c in json.loads(self.kubectl('get', 'route', 'shop', '-o', 'json'))['status']['conditions']}
        self.assertEqual(conditions['Programmed']['observedGeneration'], 1)

        # rollout under load: no request fails
        failed, answers, versions, end = 0, 0, set(), time.monotonic() + 180 * SLOW
        self.apply([self.deployment('web', 'v2')])
        while time.monotonic() < end:
            try:
                status, _, body = self.ask('web.example', '/app')
                answers += 1
                failed += status != 200
                versions.add(body.split()[-1])
                if b'v2' in versions and answers % 20 == 0:
                    s = json.loads(self.kubectl('get', 'deploy', 'web', '-o', 'json'))['status']
                    if s.get('updatedReplicas') == 2 and s.get('replicas') == 2 and s.get('availableReplicas') == 2:
                        break
            except OSError:
                failed += 1
            time.sleep(0.005)
        self.assertEqual(failed, 0, f'{failed} of {answers} failed during the rollout')
        self.assertIn(b'v2', versions)

        # TLS: certificate from a Secret, then rotated
        one, two = make_certificate(self.work, 'web.example'), None
        self.apply([tls_secret('web-tls', *one), ingress('web', 'web.example', 'web', path='/app', tls='web-tls')])
        der = lambda cert: ssl.PEM_cert_to_DER_cert(open(cert).read())
        first = der(one[0])
        self.wait(lambda: self.certificate_of('web.example') == first, 'the Secret\'s certificate is served')
        self.settled()
        self.assertEqual(self.ask('web.example', '/app')[0], 308)
        os.makedirs(os.path.join(self.work, 'second'), exist_ok=True)
        two = make_certificate(os.path.join(self.work, 'second'), 'web.example')
        self.apply([tls_secret('web-tls', *two)])
        self.wait(lambda: self.certificate_of('web.example') == der(two[0]), 'the rotated certificate is served')

        self.ticket_keys()

        # a problem is told where the owner looks
        self.apply([ingress('broken', 'broken.example', 'missing')])
        self.wait(lambda: self.ask('broken.example')[0] == 503, 'a missing Service answers 503')
        self.wait(lambda: 'missing' in self.kubectl('get', 'events', '--field-selector', 'involvedObject.name=broken', '-o', 'json'), 'an Event names the missing Service')

        # deletion
        self.kubectl('delete', 'ingress', 'web')
        self.wait(lambda: self.ask('web.example', '/app')[0] == 404, 'a deleted Ingress answers no more')


if __name__ == '__main__':
    if os.environ.get('SLUICE_IN_NETNS') != '1':
        os.execvpe(KUBE, [KUBE, 'netns', sys.executable, os.path.abspath(__file__)] + sys.argv[1:], dict(os.environ, SLUICE_IN_NETNS='1'))
    unittest.main(verbosity=2, warnings='ignore')
