#!/usr/bin/env python3
"""From the previous chart to this one: tests/cluster/fixtures holds the chart as it was packed before (the image is today's: that its flags and its options file are
still understood is part of what is shown). It serves an Ingress, a Route and a limit with values of its own; the commands of docs/install.md upgrade it and `helm
rollback` takes it back, under load, failing no request and losing no value and no object. Re-runs itself inside `hack/kube netns`."""
import glob
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from lib.gateway import ROOT, ingress, route, slurp  # noqa: E402
from cluster import release  # noqa: E402
from cluster.release import NS, Balancer  # noqa: E402

VALUES = {'replicas': 2, 'workers': 1, 'preStopSeconds': 3, 'timeouts': {'drain': '15s'}, 'limits': {'requestLine': '1Ki'}, 'podLabels': {'team': 'edge'}, 'image': {'tag': 'before'}}


class Upgrade(release.Played):
    NAME = 'upgrade'

    def under_load(self, change):
        before, load = set(self.node.pods), Balancer(self)
        load.start()
        change()
        self.until(lambda: len(self.node.pods) == 2 and not before & set(self.node.pods), 'the old Pods are gone', 90)
        time.sleep(1)
        self.assertEqual(load.result(), [], f'of {load.answers}')
        self.assertEqual(self.node.cut, [], 'Pods that the grace period cut')

    def as_before(self):
        """What the values and the objects ask for, at each Pod."""
        self.assertEqual(json.loads(self.helm('get', 'values', 'web', '-o', 'json'))['podLabels'], {'team': 'edge'})
        for address in self.ready_addresses():
            self.until(lambda: self.ask(address, 'web.example', '/' + 'x' * 2000)[0] == 414, 'the limit of the values')
            self.until(lambda: self.ask(address, 'shop.example')[0] == 200, 'the Route')
            self.until(lambda: 'ratelimit-policy' in self.ask(address, 'web.example')[1], 'the limit')
        for pod in self.node.pods.values():
            log = slurp(pod.containers[0].log)
            self.assertNotIn('answered 403', log)
            self.assertNotIn('orbidden', log)

    def test_upgrade_and_back(self):
        [packed] = glob.glob(os.path.join(HERE, 'fixtures', 'sluice-*.tgz'))
        values = os.path.join(self.work, 'values.json')
        with open(values, 'w') as f:
            json.dump(VALUES, f)
        self.helm('install', 'web', packed, '--create-namespace', '--wait', '--timeout', '3m', '--values', values)
        labels = {'app': 'web'}
        self.apply({'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'web', 'namespace': 'default'}, 'spec': {
                        'replicas': 2, 'selector': {'matchLabels': labels}, 'template': {'metadata': {'labels': labels}, 'spec': {
                            'containers': [{'name': 'c', 'image': 'origin:v1', 'ports': [{'containerPort': 8000}]}]}}}},
                   {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'web', 'namespace': 'default'},
                    'spec': {'selector': labels, 'ports': [{'name': 'http', 'port': 80, 'targetPort': 8000}]}},
                   ingress('web', 'web.example', 'web'), route('shop', ['shop.example'], [{'name': 'all', 'backendRefs': [{'name': 'web', 'port': 80}]}]),
                   {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'web', 'namespace': 'default'}, 'spec': {
                       'targetRefs': [{'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'web'}], 'limits': [{'name': 'all', 'requests': 100000, 'per': '1s'}]}})
        self.kubectl('wait', 'route/shop', 'ratelimitpolicy/web', '--for=condition=Programmed', '--timeout=120s')
        self.until(lambda: len(self.ready_addresses()) == 2, 'the Service has both Pods')
        self.everywhere(lambda a: self.ask(a, 'web.example')[2].endswith(b' v1\n'), 'the Ingress answers')
        self.as_before()
        versions = lambda: {one: json.loads(self.kubectl('get', one, '-o', 'json'))['metadata']['generation'] for one in ('route/shop', 'ratelimitpolicy/web', 'ingress/web')}
        generations = versions()

        os.symlink(os.path.join(ROOT, 'helm'), os.path.join(self.work, 'helm'))
        [text] = re.findall(r'```sh\n(kubectl apply --server-side.*?)```', slurp(os.path.join(ROOT, 'docs', 'install.md')), re.S)
        self.under_load(lambda: self.shell(text.replace('helm upgrade', 'helm upgrade --timeout 4m --set image.tag=after')))
        self.as_before()
        for path in sorted(glob.glob(os.path.join(ROOT, 'crds', '*.yaml'))):
            self.kubectl('diff', '--server-side', '--force-conflicts', '-f', path)  # fails where the API server has something else
        self.kubectl('wait', 'route/shop', 'ratelimitpolicy/web', '--for=condition=Programmed', '--timeout=120s')

        self.under_load(lambda: self.helm('rollback', 'web', '1', '--wait', '--timeout', '4m'))
        self.as_before()
        self.assertEqual(versions(), generations)


if __name__ == '__main__':
    release.main(__file__)
