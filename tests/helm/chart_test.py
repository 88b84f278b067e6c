#!/usr/bin/env python3
"""The chart without a cluster: golden renders, helm lint, what values are refused and how that reads, and that chart, options and CRDs say the same.
--update writes the golden renders anew (hack/update-golden)."""
import os
import re
import sys
import unittest

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from helm import chart  # noqa: E402

# Values that the schema or the chart refuses, and what the person reads.
REFUSED = [
    ('an unknown key', 'replicaCount: 3', "additional properties 'replicaCount' not allowed"),
    ('an unknown option', 'timeouts: {idle: 3s}', "at '/timeouts': additional properties 'idle' not allowed"),
    ('an unknown key of a plane', 'dataPlane: {replicas: 1}', "at '/dataPlane': additional properties 'replicas' not allowed"),
    ('a number as text', 'workers: "2"', "at '/workers': got string, want integer"),
    ('too many workers', 'workers: 129', "at '/workers': maximum: got 129, want 128"),
    ('a duration without a unit', 'timeouts: {drain: "30"}', "at '/timeouts/drain': '30' does not match pattern"),
    ('a size of no unit', 'limits: {headerBytes: 32KB}', "at '/limits/headerBytes'"),
    ('a version of TLS that is none', 'tls: {minVersion: "1.1"}', "at '/tls/minVersion': value must be one of '1.2', '1.3'"),
    ('a version of TLS that YAML reads as a number', 'tls: {minVersion: 1.2}', "at '/tls/minVersion': got number, want string"),
    ('a word for host ownership', 'hostOwnership: cluster', "at '/hostOwnership': value must be one of 'namespace', 'shared'"),
    ('a port that needs a capability', 'listeners: {http: 80}', "at '/listeners/http'"),
    ('a listener of the wrong word', 'listeners: {https: none}', "at '/listeners/https'"),
    ('a name as CIDR', 'trustedProxies: [office]', "at '/trustedProxies/0': 'office' does not match pattern"),
    ('another workload', 'kind: StatefulSet', "at '/kind': value must be one of 'Deployment', 'DaemonSet'"),
    ('a short digest', 'image: {digest: "sha256:0123"}', "at '/image/digest': 'sha256:0123' does not match pattern"),
    ('root', 'controlPlane: {uid: 0}', "at '/controlPlane/uid': minimum: got 0, want 1"),
    ('buckets that are no power of two', 'dataPlane: {rateLimitKeys: 100000}', "at '/dataPlane/rateLimitKeys': value must be one of 1024, 2048"),
    ('a Service of another type', 'service: {type: ExternalName}', "at '/service/type': value must be one of 'LoadBalancer', 'NodePort', 'ClusterIP'"),
    ('a Secret without a namespace', 'defaultSslCertificate: wildcard', "at '/defaultSslCertificate': 'wildcard' does not match pattern"),
    ('a Service to publish without a namespace', 'publishService: front', "at '/publishService': 'front' does not match pattern"),
    ('an address of two words', 'publishAddresses: [a b]', "at '/publishAddresses/0': 'a b' does not match pattern"),
    ('a namespace twice', 'watchNamespaces: [a, a]', "at '/watchNamespaces': items at 0 and 1 are equal"),
    ('one uid for both', 'dataPlane: {uid: 10001}', 'controlPlane.uid and dataPlane.uid must differ'),
    ('no listener', 'listeners: {http: "off", https: "off"}', 'listeners.http and listeners.https are both off'),
    ('one port twice', 'listeners: {http: 9090}', 'dataPlane.adminPort and listeners.http are both 9090'),
    ('a grace period that cuts the drain', 'terminationGracePeriodSeconds: 30', 'is less than preStopSeconds + timeouts.drain + 5 = 45'),
    ('an autoscaled DaemonSet', '{kind: DaemonSet, autoscaling: {enabled: true}}', 'autoscaling.enabled needs kind: Deployment'),
    ('fewest above most', 'autoscaling: {enabled: true, minReplicas: 9, maxReplicas: 3}', 'autoscaling.minReplicas is more than autoscaling.maxReplicas'),
    ('two budgets', 'podDisruptionBudget: {minAvailable: 1}', 'exactly one of minAvailable and maxUnavailable'),
    ('nobody can reach it', 'service: {enabled: false}', 'no client could reach the gateway'),
    ('a port of the node twice', 'hostPort: {enabled: true, https: 80}', 'hostPort.http and hostPort.https are both 80: a node has each port once'),
    ('a port of the Service twice', 'service: {ports: {https: 80}}', 'service.ports.http and service.ports.https are both 80'),
    ('a port of every node twice', 'service: {nodePorts: {http: 30080, https: 30080}}', 'service.nodePorts.http and service.nodePorts.https are both 30080'),
    ('a policy for traffic that does not come', 'service: {type: ClusterIP, externalTrafficPolicy: Local}', 'service.externalTrafficPolicy needs service.type'),
    ('ports of the nodes inside', 'service: {type: ClusterIP, nodePorts: {http: 30080}}', 'service.nodePorts needs service.type'),
    ('a health check that nobody asks', 'service: {nodePorts: {healthCheck: 31000}}', 'service.nodePorts.healthCheck needs'),
    ('a class of load balancers without one', 'service: {type: NodePort, loadBalancerClass: a.example/b}', 'service.loadBalancerClass and service.loadBalancerSourceRanges need'),
    ('two families in one', 'service: {ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6]}', 'service.ipFamilies has two'),
    ('scaling by nothing', 'autoscaling: {enabled: true, targetCPUUtilizationPercentage: 0}', 'autoscaling.enabled without a measure'),
    ('scaling by a share of nothing', '{autoscaling: {enabled: true}, dataPlane: {resources: {requests: {cpu: null}}}}', 'a share of dataPlane.resources.requests.cpu, which is not set'),
    ('a label that selectors go by', 'commonLabels: {app.kubernetes.io/name: x}', "commonLabels: app.kubernetes.io/name is the chart's own label"),
    ('the same of the Pods', 'podLabels: {app.kubernetes.io/instance: x}', "podLabels: app.kubernetes.io/instance is the chart's own label"),
    ('a name that no Service may have', 'fullnameOverride: 1st', 'makes "1st", which no Service may have'),
    ('an amount that is none', 'dataPlane: {resources: {limits: {cpu: lots}}}', "at '/dataPlane/resources/limits/cpu'"),
    ('no account', 'serviceAccount: {create: false}', 'serviceAccount.name is required'),
]


def rows_of_the_reference():
    """key -> (type, default) of docs/reference/configuration.md, which is made from the option table."""
    text = chart.slurp(os.path.join(chart.ROOT, 'docs', 'reference', 'configuration.md'))
    return {m[1]: (m[2], m[3].strip('`')) for m in re.finditer(r'^\| `([\w.]+)` \| (\w+) \| (\S+) \|', text, re.M)}


def leaves(node, prefix=''):
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f'{prefix}{key}.')
        else:
            yield prefix + key, value


class Chart(unittest.TestCase):
    maxDiff = None

    def render(self, values='', **how):
        code, manifests, wrong = chart.template(values, **how)
        self.assertEqual(code, 0, wrong)
        return chart.objects(manifests)

    def test_golden_renders(self):
        self.assertGreaterEqual(len(chart.golden_inputs()), 15)
        for path in chart.golden_inputs():
            with self.subTest(chart.name_of(path)):
                code, manifests, wrong = chart.template(chart.slurp(path))
                self.assertEqual(code, 0, wrong)
                self.assertEqual(manifests, chart.slurp(path.replace('.in.yaml', '.out.yaml')), 'if this is meant: hack/update-golden')

    def test_lint(self):
        for path in chart.golden_inputs():
            with self.subTest(chart.name_of(path)):
                code, out, wrong = chart.helm('lint', '--strict', chart.CHART, '--values', path)
                self.assertEqual(code, 0, out + wrong)

    def test_refused_values(self):
        for name, values, text in REFUSED:
            with self.subTest(name):
                code, _, wrong = chart.template(values)
                self.assertNotEqual(code, 0)
                self.assertIn(text, wrong)

    def test_every_value_is_commented(self):
        lines = chart.slurp(os.path.join(chart.CHART, 'values.yaml')).split('\n')
        for number, line in enumerate(lines):
            key = re.match(r'^( *)([A-Za-z]\w*):(.*)$', line)
            if not key:
                continue
            section = not key[3].strip() and number + 1 < len(lines) and re.match(rf'^{key[1]}(  |- )\S', lines[number + 1])
            if not section:
                self.assertTrue(lines[number - 1].lstrip().startswith('#'), f'values.yaml:{number + 1}: {line} has no comment')

    def test_every_value_is_in_a_golden_render(self):
        """A value that no golden set changes is one whose effect nobody sees."""
        values = yaml.safe_load(chart.slurp(os.path.join(chart.CHART, 'values.yaml')))
        changed = set()
        for path in chart.golden_inputs():
            def walk(given, default, prefix):
                for key, value in given.items():
                    was = default.get(key) if isinstance(default, dict) else None
                    if isinstance(value, dict) and isinstance(was, dict) and was:
                        walk(value, was, f'{prefix}{key}.')
                    elif value != was:
                        changed.add(prefix + key)
            walk(yaml.safe_load(chart.slurp(path)) or {}, values, '')
        # Parts of one Kubernetes object are one value.
        part = re.compile(r'^(\w+Plane\.(?:resources|probes\.\w+))\..*$')
        wanted = {part.sub(r'\1', key) for key, _ in leaves(values)}
        self.assertEqual(sorted(wanted - {part.sub(r'\1', key) for key in changed}), [])

    def test_options_are_those_of_the_reference(self):
        rows = rows_of_the_reference()
        self.assertGreater(len(rows), 30)
        rendered = self.render()
        [text] = [one['data']['options.yaml'] for one in rendered if one['kind'] == 'ConfigMap']
        options = dict(leaves(yaml.safe_load(text)))
        self.assertEqual(sorted(options), sorted(rows))
        # Off unless the chart says so.
        ports = {'listeners.http': 8080, 'listeners.https': 8443, 'publishService': 'gateways/edge-sluice'}
        for key, value in options.items():
            default = {'true': True, 'false': False, '[]': [], 'empty': ''}.get(rows[key][1], rows[key][1])
            self.assertEqual(str(value), str(ports.get(key, default)), key)

    def test_crds_are_copies(self):
        top = os.path.join(chart.ROOT, 'crds')
        names = sorted(name for name in os.listdir(top) if name.endswith('.yaml'))
        self.assertEqual(sorted(os.listdir(os.path.join(chart.CHART, 'crds'))), names)
        for name in names:
            self.assertEqual(chart.slurp(os.path.join(chart.CHART, 'crds', name)), chart.slurp(os.path.join(top, name)), f'{name}: hack/check --fix copies it')

    def test_only_the_control_plane_has_a_token(self):
        for path in chart.golden_inputs():
            with self.subTest(chart.name_of(path)):
                rendered = self.render(chart.slurp(path))
                spec = chart.pod_spec(rendered)
                self.assertIs(spec['automountServiceAccountToken'], False)
                for account in (one for one in rendered if one['kind'] == 'ServiceAccount'):
                    self.assertIs(account['automountServiceAccountToken'], False)
                tokens = {v['name'] for v in spec['volumes'] if any('serviceAccountToken' in s for s in v.get('projected', {}).get('sources', []))}
                mounted = {c['name']: {m['name'] for m in c['volumeMounts']} for c in spec['containers']}
                self.assertEqual(tokens, {'token'})
                self.assertEqual(tokens & mounted['controlplane'], tokens)
                self.assertEqual(mounted['dataplane'] - {'logs'}, {'push', 'state', 'data-admin'})
                self.assertNotIn('data-admin', mounted['controlplane'])
                [push] = [m for m in chart.container(rendered, 'dataplane')['volumeMounts'] if m['name'] == 'push']
                self.assertIs(push['readOnly'], True)

    def test_both_containers_are_locked_down(self):
        for path in chart.golden_inputs():
            with self.subTest(chart.name_of(path)):
                rendered = self.render(chart.slurp(path))
                spec = chart.pod_spec(rendered)
                self.assertEqual(spec['securityContext']['seccompProfile'], {'type': 'RuntimeDefault'})
                uids = set()
                for one in spec['containers']:
                    context = one['securityContext']
                    uids.add(context['runAsUser'])
                    self.assertEqual((context['runAsNonRoot'], context['readOnlyRootFilesystem'], context['allowPrivilegeEscalation'], context['capabilities']),
                                     (True, True, False, {'drop': ['ALL']}))
                self.assertEqual(len(uids - {0}), 2)
                self.assertIn(f'--dataplane-uid={chart.container(rendered, "dataplane")["securityContext"]["runAsUser"]}', chart.container(rendered, 'controlplane')['args'])
                self.assertIn(f'--control-uid={chart.container(rendered, "controlplane")["securityContext"]["runAsUser"]}', chart.container(rendered, 'dataplane')['args'])
                for port in (p for c in spec['containers'] for p in c['ports']):
                    self.assertGreaterEqual(port['containerPort'], 1024)

    def test_the_grace_period_fits_the_drain(self):
        for drain, pre_stop, wanted in (('30s', 10, 45), ('500ms', 0, 6), ('2m', 3, 128), ('1h', 0, 3605), ('0', 0, 5)):
            spec = chart.pod_spec(self.render(f'{{timeouts: {{drain: "{drain}"}}, preStopSeconds: {pre_stop}}}'))
            self.assertEqual(spec['terminationGracePeriodSeconds'], wanted)
            for one in spec['containers']:
                self.assertEqual(one.get('lifecycle'), {'preStop': {'sleep': {'seconds': pre_stop}}} if pre_stop else None)

    def test_releases_side_by_side_share_nothing(self):
        """Two releases with a class each, also with one name in two namespaces: no object is both's, no class is served twice."""
        def identities(rendered):
            return {(one['kind'], one['metadata'].get('namespace', ''), one['metadata']['name']) for one in rendered}
        for left, right in (({'release': 'web', 'namespace': 'edge'}, {'release': 'mobile', 'namespace': 'edge'}),
                            ({'release': 'sluice', 'namespace': 'a'}, {'release': 'sluice', 'namespace': 'b'})):
            one, two = self.render(**left), self.render('ingressClass: {name: mobile}', **right)
            self.assertEqual(identities(one) & identities(two), set())
            self.assertEqual(len({o['spec']['controller'] for o in one + two if o['kind'] == 'IngressClass'}), 2)
            for rendered in (one, two):
                [controller] = [o['spec']['controller'] for o in rendered if o['kind'] == 'IngressClass']
                self.assertIn(f'--controller-name={controller}', chart.container(rendered, 'controlplane')['args'])

    def test_a_change_of_watched_namespaces_replaces_pods_and_other_options_do_not(self):
        template = lambda values: next(one['spec']['template'] for one in self.render(values) if one['kind'] == 'Deployment')
        self.assertNotEqual(template('watchNamespaces: [a]'), template('watchNamespaces: [a, b]'))
        self.assertEqual(template('watchNamespaces: [a, b]'), template('watchNamespaces: [b, a]'))
        self.assertEqual(template('limits: {headerCount: 50}'), template(''))


def update():
    for path in chart.golden_inputs():
        code, manifests, wrong = chart.template(chart.slurp(path))
        if code != 0:
            sys.exit(f'{path}: {wrong}')
        with open(path.replace('.in.yaml', '.out.yaml'), 'w') as f:
            f.write(manifests)


if __name__ == '__main__':
    if sys.argv[1:] == ['--update']:
        update()
    else:
        unittest.main(verbosity=2)
