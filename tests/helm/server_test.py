#!/usr/bin/env python3
"""The chart on a real kube-apiserver: every object of every golden render is accepted, Pods pass Pod Security "restricted", the ServiceAccount may do what the
control plane does and nothing beside it; install, second release, upgrade, uninstall. Re-runs itself inside `hack/kube netns`."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from helm import chart  # noqa: E402
from cluster import node  # noqa: E402

NAMESPACES = ('gateways', 'monitoring', 'team-a', 'team-b', 'infra')
SLICES, RBAC, NET, OWN = 'discovery.k8s.io', 'rbac.authorization.k8s.io', 'networking.k8s.io', 'sluice.dev'

# What the control plane asks for (controlplane/kube/cluster_source.cpp, content_fetcher.cpp; controlplane/status/status_writer.cpp, address_source.cpp): (verb, group, resource), in a namespace.
NEEDED = [(verb, group, resource) for group, resource in ((NET, 'ingresses'), ('', 'services'), (SLICES, 'endpointslices'), ('', 'secrets'), ('', 'configmaps'),
                                                           (OWN, 'routes'), (OWN, 'ratelimitpolicies')) for verb in ('list', 'watch')]
NEEDED += [('get', '', 'secrets'), ('get', '', 'configmaps'), ('get', OWN, 'routes'), ('get', OWN, 'ratelimitpolicies')]
NEEDED += [('patch', OWN, 'routes/status'), ('patch', OWN, 'ratelimitpolicies/status'), ('get', NET, 'ingresses/status'), ('patch', NET, 'ingresses/status')]
NEEDED += [(verb, '', 'events') for verb in ('get', 'create', 'patch')]
# In the namespace of the release only (controlplane/status/leases.cpp).
NEEDED_OWN = [(verb, 'coordination.k8s.io', 'leases') for verb in ('get', 'list', 'create', 'update', 'patch', 'delete')] + [('get', '', 'pods')]
NEEDED_CLUSTER = [('list', NET, 'ingressclasses'), ('watch', NET, 'ingressclasses'), ('list', '', 'namespaces'), ('watch', '', 'namespaces')]

# Whoever has the token must not get further than it.
FORBIDDEN = [(verb, '', 'secrets') for verb in ('create', 'update', 'patch', 'delete')]
FORBIDDEN += [(verb, '', resource) for resource in ('pods', 'pods/exec', 'pods/portforward', 'serviceaccounts/token', 'nodes', 'persistentvolumes') for verb in ('get', 'list', 'create', 'delete')]
FORBIDDEN += [(verb, group, resource) for group, resource in ((NET, 'ingresses'), ('', 'services'), ('', 'configmaps'), (SLICES, 'endpointslices'), (OWN, 'routes'), (NET, 'ingressclasses'),
                                                              ('', 'namespaces'), ('apps', 'deployments'), ('apps', 'daemonsets'), (OWN, 'ratelimitpolicies'))
              for verb in ('create', 'update', 'patch', 'delete', 'deletecollection')]
FORBIDDEN += [('delete', '', 'events'), ('list', '', 'events'), ('impersonate', '', 'users'), ('impersonate', '', 'serviceaccounts'), ('escalate', RBAC, 'clusterroles'),
              ('bind', RBAC, 'clusterroles'), ('create', RBAC, 'clusterrolebindings'), ('create', RBAC, 'rolebindings'), ('create', 'admissionregistration.k8s.io', 'validatingwebhookconfigurations'),
              ('approve', 'certificates.k8s.io', 'signers'), ('get', 'apps', 'deployments'), ('*', '*', '*')]

# Definitions of the Prometheus operator's objects, without their schemas.
OPERATOR = [{'apiVersion': 'apiextensions.k8s.io/v1', 'kind': 'CustomResourceDefinition', 'metadata': {'name': f'{kind.lower()}s.monitoring.coreos.com'}, 'spec': {
    'group': 'monitoring.coreos.com', 'scope': 'Namespaced', 'names': {'kind': kind, 'plural': f'{kind.lower()}s', 'singular': kind.lower(), 'listKind': f'{kind}List'},
    'versions': [{'name': 'v1', 'served': True, 'storage': True, 'schema': {'openAPIV3Schema': {'type': 'object', 'x-kubernetes-preserve-unknown-fields': True}}}]}}
    for kind in ('ServiceMonitor', 'PrometheusRule')]


class Server(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix='sluice-chart.')
        cls.state = os.path.join(cls.work, 'kube')
        # Both families, for Services of both; no Pods here, so no controllers.
        subprocess.run([chart.KUBE, 'up', cls.state], check=True, env=dict(os.environ, KUBE_CONTROLLERS='0', KUBE_SERVICE_CIDR='198.19.0.0/16,fd00:198:19::/108'))
        cls.api = node.connect(cls.state)
        cls.env = {'KUBECONFIG': os.path.join(cls.state, 'admin.kubeconfig')}
        for name in NAMESPACES:
            cls.api.call('POST', '/api/v1/namespaces', {'apiVersion': 'v1', 'kind': 'Namespace', 'metadata': {
                'name': name, 'labels': {'pod-security.kubernetes.io/enforce': 'restricted'} if name == 'gateways' else {}}})
        for definition in OPERATOR:
            cls.api.call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', definition)
            node.crds_established([os.path.join(cls.state, 'kubectl')], definition['metadata']['name'], env={**os.environ, **cls.env})

    @classmethod
    def tearDownClass(cls):
        subprocess.run([chart.KUBE, 'down', cls.state], check=False)
        shutil.rmtree(cls.work, ignore_errors=True)

    @classmethod
    def kubectl(cls, *args, stdin=None, check=True):
        done = subprocess.run([os.path.join(cls.state, 'kubectl'), *args], input=stdin, capture_output=True, text=True, env={**os.environ, **cls.env})
        if check and done.returncode != 0:
            raise AssertionError(f'kubectl {" ".join(args)}: {done.stderr}')
        return done.stdout if check else done

    def helm(self, *args):
        code, out, wrong = chart.helm(*args, env=self.env)
        self.assertEqual(code, 0, wrong)
        return out

    def may(self, account, verb, group, resource, namespace='', name=''):
        resource, _, subresource = resource.partition('/')
        of, who = account.split('/')
        asked = {'verb': verb, 'group': group, 'resource': resource, 'subresource': subresource, 'namespace': namespace, 'name': name}
        answer = self.api.call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', {'apiVersion': 'authorization.k8s.io/v1', 'kind': 'SubjectAccessReview', 'spec': {
            'user': f'system:serviceaccount:{of}:{who}', 'groups': ['system:serviceaccounts', f'system:serviceaccounts:{of}', 'system:authenticated'], 'resourceAttributes': asked}})
        return answer['status']['allowed']

    def assert_rights(self, account, namespace, allowed, rows, **how):
        wrong = [row for row in rows if self.may(account, *row, namespace=namespace, **how) != allowed]
        self.assertEqual(wrong, [], f'{account} in {namespace or "the cluster"}: {"refused" if allowed else "allowed"}')

    def test_every_object_of_every_golden_render_is_accepted(self):
        count = 0
        for path in chart.golden_inputs():
            with self.subTest(chart.name_of(path)):
                # Unknown and doubled fields are errors.
                done = self.kubectl('apply', '--dry-run=server', '--validate=strict', '-f', path.replace('.in.yaml', '.out.yaml'), check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                accepted, sent = done.stdout.count('(server dry run)'), chart.objects(chart.slurp(path.replace('.in.yaml', '.out.yaml')))
                self.assertEqual(accepted, len(sent))
                count += accepted
        self.assertGreater(count, 100)

    def test_pods_pass_the_restricted_level(self):
        for path in chart.golden_inputs():
            with self.subTest(chart.name_of(path)):
                rendered = chart.objects(chart.slurp(path.replace('.in.yaml', '.out.yaml')))
                spec = {k: v for k, v in chart.pod_spec(rendered).items() if k not in ('priorityClassName', 'runtimeClassName')}
                # Without its controllers the cluster makes no ServiceAccounts, and its admission asks for none.
                pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'probe', 'namespace': 'gateways'}, 'spec': spec}
                done = self.kubectl('apply', '--dry-run=server', '-f', '-', stdin=json.dumps(pod), check=False)
                if any('hostPort' in port for one in spec['containers'] for port in one['ports']):
                    self.assertIn('hostPort', done.stderr)
                else:
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_rights(self):
        # Custom resources are judged by name, so their definitions need not be there.
        self.helm('install', 'all', chart.CHART, '-n', 'infra', '--set', 'ingressClass.name=all')
        self.helm('install', 'some', chart.CHART, '-n', 'infra', '--set', 'ingressClass.name=some', '--set', 'watchNamespaces={team-a}')
        every, some = 'infra/all-sluice', 'infra/some-sluice'
        for namespace in ('', 'team-a', 'infra', 'kube-system'):
            self.assert_rights(every, namespace, True, NEEDED)
            self.assert_rights(every, namespace, False, [row for row in FORBIDDEN + NEEDED_OWN if namespace != 'infra' or row not in NEEDED_OWN])
        for account in (every, some):
            self.assert_rights(account, '', True, NEEDED_CLUSTER[:2])
            self.assert_rights(account, 'infra', True, NEEDED_OWN)
        self.assert_rights(every, '', True, NEEDED_CLUSTER)
        self.assert_rights(some, '', True, NEEDED_CLUSTER[2:], name='team-a')
        self.assert_rights(some, '', False, NEEDED_CLUSTER[2:], name='team-b')
        self.assert_rights(some, 'team-a', True, NEEDED)
        self.assert_rights(some, 'team-a', False, FORBIDDEN)
        for namespace in ('', 'team-b', 'infra', 'kube-system'):
            self.assert_rights(some, namespace, False, [row for row in NEEDED + FORBIDDEN + NEEDED_OWN if namespace != 'infra' or row not in NEEDED_OWN])
        # Its own Service is not in a watched namespace: that one may be read, for its addresses.
        self.assert_rights(some, 'infra', True, [('list', '', 'services'), ('watch', '', 'services')], name='some-sluice')
        self.assert_rights(some, 'default', True, [row for row in NEEDED if row[2] == 'events'])
        self.assert_rights(some, 'default', False, [row for row in NEEDED if row[2] != 'events'] + FORBIDDEN)
        for release in ('all', 'some'):
            self.helm('uninstall', release, '-n', 'infra')

    def test_life_of_releases(self):
        names = lambda kind, *where: self.kubectl('get', kind, *where, '-o', 'name').split()
        notes = self.helm('install', 'web', chart.CHART, '-n', 'gateways')
        self.assertIn('kubectl rollout status -n gateways deployment/web-sluice', notes)
        self.assertIn('kubectl create ingress hello --class=sluice', notes)
        self.helm('install', 'mobile', chart.CHART, '-n', 'gateways', '--set', 'ingressClass.name=mobile', '--set', 'service.type=NodePort')
        classes = json.loads(self.kubectl('get', 'ingressclasses', '-o', 'json'))['items']
        self.assertEqual({c['metadata']['name']: c['spec']['controller'] for c in classes},
                         {'sluice': 'sluice.dev/ingress-controller', 'mobile': 'sluice.dev/ingress-controller-mobile'})
        node.crds_established([os.path.join(self.state, 'kubectl')], 'routes.sluice.dev', env={**os.environ, **self.env})
        # A second release of the class is told so before it breaks the first.
        code, _, wrong = chart.helm('install', 'third', chart.CHART, '-n', 'infra', env=self.env)
        self.assertNotEqual(code, 0)
        self.assertIn('IngressClass "sluice"', wrong)
        # An upgrade that changes an option changes the options file, and no Pod.
        before = json.loads(self.kubectl('get', 'deployment', 'web-sluice', '-n', 'gateways', '-o', 'json'))
        self.helm('upgrade', 'web', chart.CHART, '-n', 'gateways', '--set', 'limits.headerCount=50')
        after = json.loads(self.kubectl('get', 'deployment', 'web-sluice', '-n', 'gateways', '-o', 'json'))
        self.assertEqual(after['metadata']['generation'], before['metadata']['generation'])
        self.assertIn('headerCount: 50', self.kubectl('get', 'configmap', 'web-sluice', '-n', 'gateways', '-o', 'yaml'))
        for release in ('web', 'mobile'):
            self.helm('uninstall', release, '-n', 'gateways')
        self.assertEqual(names('ingressclasses'), [])
        self.assertEqual([n for n in names('clusterroles') + names('clusterrolebindings') if 'gateways:' in n], [])
        self.assertEqual(names('deployments,services,configmaps,serviceaccounts,poddisruptionbudgets', '-n', 'gateways'), [])
        # Routes outlive the chart, or an uninstall would delete everybody's.
        self.assertIn('customresourcedefinition.apiextensions.k8s.io/routes.sluice.dev', names('crds'))


if __name__ == '__main__':
    if os.environ.get('SLUICE_IN_NETNS') != '1':
        os.execvpe(chart.KUBE, [chart.KUBE, 'netns', sys.executable, os.path.abspath(__file__)] + sys.argv[1:], dict(os.environ, SLUICE_IN_NETNS='1'))
    unittest.main(verbosity=2, warnings='ignore')
