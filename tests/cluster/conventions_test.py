#!/usr/bin/env python3
"""Objects as other tools write and read them, on a real API server. cert-manager: an HTTP-01 solver's Ingress (with the field, with the annotation) beside an Ingress
whose host is sent to https, a certificate that comes after its Ingress, twenty rotations under handshakes. external-dns and Argo CD: the Ingress gets its address, their annotations stay as they are
and nobody is warned of them; the health of a Route and a RateLimitPolicy by the script of examples/argocd. Re-runs itself inside `hack/kube netns`."""
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from lib.gateway import PATIENCE, ROOT, ingress, make_certificate, read_answer, route, slurp, tls_secret  # noqa: E402
from cluster import release  # noqa: E402
from cluster.release import NS  # noqa: E402
from helm import chart  # noqa: E402

TOKEN = 'LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0'
CHALLENGE = '/.well-known/acme-challenge/' + TOKEN
ROTATIONS = int(os.environ.get('ROTATIONS', '20'))
# What the tools put on an Ingress.
ANNOTATIONS = {'cert-manager.io/cluster-issuer': 'letsencrypt', 'acme.cert-manager.io/http01-edit-in-place': 'false', 'cert-manager.io/private-key-rotation-policy': 'Always',
               'external-dns.alpha.kubernetes.io/hostname': 'shop.example', 'external-dns.alpha.kubernetes.io/ttl': '60', 'external-dns.alpha.kubernetes.io/target': '192.0.2.1',
               'argocd.argoproj.io/tracking-id': 'shop:networking.k8s.io/Ingress:default/shop', 'argocd.argoproj.io/sync-wave': '1'}


def solver(host, annotated):
    """The Ingress and the Service of cert-manager's solver; its Pod is that of the test's own backend."""
    labels = {'acme.cert-manager.io/http-domain': '1000000000', 'acme.cert-manager.io/http-token': '1000000001', 'acme.cert-manager.io/http01-solver': 'true'}
    name = 'cm-acme-http-solver-7k2fm'
    annotations = {'nginx.ingress.kubernetes.io/whitelist-source-range': '0.0.0.0/0,::/0', **({'kubernetes.io/ingress.class': 'sluice'} if annotated else {})}
    return [{'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name, 'namespace': 'default', 'labels': labels, 'annotations': {'auth.istio.io/8089': 'NONE'}},
             'spec': {'type': 'NodePort', 'selector': {'app': 'solver'}, 'ports': [{'name': 'http', 'port': 8089, 'targetPort': 8089, 'protocol': 'TCP'}]}},
            {'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': {'name': name, 'namespace': 'default', 'labels': labels, 'annotations': annotations},
             'spec': {**({} if annotated else {'ingressClassName': 'sluice'}), 'rules': [{'host': host, 'http': {'paths': [
                 {'path': CHALLENGE, 'pathType': 'Exact', 'backend': {'service': {'name': name, 'port': {'number': 8089}}}}]}}]}}]


def issued(cert, key):
    """A Secret as cert-manager writes it."""
    out = tls_secret('shop-tls', cert, key)
    out['metadata'].update(labels={'controller.cert-manager.io/fao': 'true'}, annotations={'cert-manager.io/certificate-name': 'shop-tls', 'cert-manager.io/issuer-kind': 'ClusterIssuer',
                                                                                          'cert-manager.io/issuer-name': 'letsencrypt', 'cert-manager.io/common-name': 'shop.example'})
    out['data']['ca.crt'] = out['data']['tls.crt']
    return out


class Handshakes(threading.Thread):
    """One after the other, each verified against every certificate that was ever written."""

    def __init__(self, address, context):
        super().__init__(daemon=True)
        self.address, self.context, self.failed, self.seen, self.count, self.done = address, context, [], set(), 0, threading.Event()

    def run(self):
        while not self.done.is_set():
            try:
                self.seen.add(certificate_of(self.address, self.context))
            except OSError as e:
                self.failed.append(str(e))
            self.count += 1
            time.sleep(0.005)


def certificate_of(address, context):
    with socket.create_connection((address, 8443), timeout=PATIENCE) as raw, context.wrap_socket(raw, server_hostname='shop.example') as s:
        s.sendall(b'GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n')
        if read_answer(s)[0] != 200:
            raise ConnectionError('not 200')
        return s.getpeercert(binary_form=True)


class Conventions(release.Played):
    NAME = 'conventions'

    def deploy(self, name, port):
        labels = {'app': name}
        return [{'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': name, 'namespace': 'default'}, 'spec': {
                    'replicas': 1, 'selector': {'matchLabels': labels}, 'template': {'metadata': {'labels': labels}, 'spec': {
                        'containers': [{'name': 'c', 'image': f'origin:{name}', 'ports': [{'containerPort': port}]}]}}}},
                {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': name, 'namespace': 'default'}, 'spec': {'selector': labels, 'ports': [{'name': 'http', 'port': 80, 'targetPort': port}]}}]

    def plain(self, path):
        return self.ask(self.only_address(), 'shop.example', path)

    def warnings(self, name):
        found = json.loads(self.kubectl('get', 'events', '--field-selector', f'involvedObject.name={name},type=Warning,source=sluice.dev/ingress-controller', '-o', 'json'))['items']
        return [(one['reason'], one['message']) for one in found]

    def challenge(self, annotated, before):
        """cert-manager asks for it itself over plain HTTP first, then the authority does. `before`: what the rest of the host answers meanwhile."""
        self.apply(*solver('shop.example', annotated))
        self.until(lambda: (a := self.plain(CHALLENGE))[0] == 200 and a[2].endswith(b' solver\n'), 'the challenge is answered over plain HTTP')
        self.assertEqual(self.plain('/')[0], before)
        self.assertEqual(self.plain(CHALLENGE + 'x')[0], before)
        self.assertEqual(self.warnings('cm-acme-http-solver-7k2fm'), [])
        self.kubectl('delete', 'ingress,service', 'cm-acme-http-solver-7k2fm')
        self.until(lambda: self.plain(CHALLENGE)[0] == before, 'the challenge is gone')

    def certificates(self):
        self.apply(*self.deploy('shop', 8000), *self.deploy('solver', 8089), ingress('shop', 'shop.example', 'shop', tls='shop-tls', annotations=ANNOTATIONS))
        self.until(lambda: self.plain('/')[0] in (200, 308), 'the Ingress is there')
        self.until(lambda: 'SecretNotFound' in dict(self.warnings('shop')), 'the missing Secret is told')
        before = self.plain('/')[0]
        self.challenge(False, before)
        # The Secret comes after its Ingress; at first empty, as some issuers leave it for a moment.
        empty = tls_secret('shop-tls', os.devnull, os.devnull)
        self.apply(empty)
        made = []
        for n in range(ROTATIONS + 1):
            folder = os.path.join(self.work, f'cert{n}')
            os.mkdir(folder)
            made.append(make_certificate(folder, 'shop.example'))
        context = ssl.create_default_context(cadata='\n'.join(slurp(cert) for cert, _ in made))
        ders = [ssl.PEM_cert_to_DER_cert(slurp(cert)) for cert, _ in made]
        address = self.only_address()
        self.apply(issued(*made[0]))
        self.until(lambda: certificate_of(address, context) == ders[0], 'the certificate is served once it is there')
        self.until(lambda: self.plain('/')[0] == 308, 'plain requests are sent to https')
        self.challenge(True, 308)
        load = [Handshakes(address, context), Handshakes(address, context)]
        for one in load:
            one.start()
        for n in range(1, len(made)):
            self.apply(issued(*made[n]))
            self.until(lambda: any(ders[n] in one.seen for one in load), f'rotation {n}')
        for one in load:
            one.done.set()
            one.join()
            self.assertEqual(one.failed, [], f'of {one.count}')
            self.assertGreater(one.count, 0)

    def annotations_stay(self):
        """Nothing of ours is written to an Ingress' metadata or spec, and what others write there is nobody's mistake."""
        meta = json.loads(self.kubectl('get', 'ingress', 'shop', '-o', 'json'))['metadata']
        self.assertEqual({k: v for k, v in meta['annotations'].items() if not k.startswith('kubectl.')}, ANNOTATIONS)
        self.assertEqual((meta['generation'], meta.get('finalizers')), (1, None))
        self.assertEqual({reason for reason, _ in self.warnings('shop')} - {'SecretNotFound', 'InvalidCertificate'}, set())

    def address(self):
        """external-dns takes status.loadBalancer of the Ingress for its records' targets; Argo CD's own check of an Ingress is that it is not empty."""
        read = lambda: json.loads(self.kubectl('get', 'ingress', 'shop', '-o', 'json'))
        self.assertFalse(read()['status'].get('loadBalancer', {}).get('ingress'), 'the Service has no address yet: Progressing')
        self.kubectl('patch', 'service', 'web-sluice', '-n', NS, '--subresource=status', '--type=merge', '-p', json.dumps({'status': {'loadBalancer': {'ingress': [{'ip': '192.0.2.7'}]}}}))
        self.until(lambda: read()['status']['loadBalancer'].get('ingress') == [{'ip': '192.0.2.7'}], 'the Ingress has the address')

    def health(self, kind, name):
        """What Argo CD says by the script of examples/argocd."""
        data = yaml.safe_load(slurp(os.path.join(ROOT, 'examples', 'argocd', 'argocd-cm.yaml')))['data']
        script = data[f'resource.customizations.health.sluice.dev_{kind}']

        def lua(value):
            if isinstance(value, dict):
                return '{' + ', '.join(f'[{lua(k)}] = {lua(v)}' for k, v in value.items()) + '}'
            if isinstance(value, list):
                return '{' + ', '.join(map(lua, value)) + '}'
            if isinstance(value, str):
                return '"' + ''.join(f'\\{byte:03d}' for byte in value.encode()) + '"'
            return json.dumps(value).replace('null', 'nil')
        obj = json.loads(self.kubectl('get', kind.lower(), name, '-o', 'json'))
        program = f'obj = {lua(obj)}\nlocal function health()\n{script}\nend\nlocal hs = health()\nprint(hs.status .. "|" .. hs.message)'
        done = subprocess.run(['lua5.4', '-'], input=program, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.strip().split('|', 1)

    def argo(self):
        policy = lambda target: {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'good', 'namespace': 'default'}, 'spec': {
            'targetRefs': [{'group': 'sluice.dev', 'kind': 'Route', 'name': target}], 'limits': [{'name': 'all', 'requests': 1000, 'per': '1s'}]}}
        rules = lambda backend: [{'name': 'all', 'backendRefs': [{'name': backend, 'port': 80}]}]
        one = route('good', ['good.example'], rules('shop'))
        one['metadata']['annotations'] = ANNOTATIONS
        self.apply(one, route('lost', ['lost.example'], rules('missing')), policy('good'))
        self.until(lambda: self.health('Route', 'good')[0] == 'Healthy', 'the Route is Healthy')
        self.until(lambda: self.health('RateLimitPolicy', 'good')[0] == 'Healthy', 'the policy is Healthy')
        self.until(lambda: (h := self.health('Route', 'lost'))[0] == 'Degraded' and 'BackendNotFound' in h[1], 'the Route without backend is Degraded')
        self.assertEqual(self.warnings('good'), [])
        self.apply(policy('nobody'))
        self.until(lambda: self.health('RateLimitPolicy', 'good')[0] == 'Degraded', 'a policy that limits nothing is Degraded')
        # Nobody has looked at this one: no class of ours.
        other = route('other', ['other.example'], rules('shop'))
        other['spec']['parentRefs'][0]['name'] = 'elsewhere'
        self.apply(other)
        self.assertEqual(self.health('Route', 'other')[0], 'Progressing')

    def test_conventions(self):
        self.helm('install', 'web', chart.CHART, '--create-namespace', '--wait', '--timeout', '3m', '--set', 'replicas=1', '--set', 'workers=2', '--set', 'preStopSeconds=0')
        self.until(lambda: self.ready_addresses(), 'the Service has its Pod')
        for step in (self.certificates, self.address, self.annotations_stay, self.argo):
            start = time.monotonic()
            step()
            print(f'{step.__name__}: {time.monotonic() - start:.1f} s', file=sys.stderr)


if __name__ == '__main__':
    release.main(__file__)
