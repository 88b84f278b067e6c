#!/usr/bin/env python3
"""RateLimitPolicy from its manifest to the answer: exact at 1, 2 and 4 workers while tables change and workers die; several policies; shadow and the log.
The same with tables pushed directly, under load: tests/integration/rate_limit_test.cpp."""
import json
import os
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import BIN, CLASS, PATIENCE, Gateway, Origin, ingress, route, service, slurp  # noqa: E402

INGRESS = {'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'web'}


def policy(name, target, limits, **more):
    return {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': name, 'namespace': 'default'},
            'spec': {'targetRefs': [target], 'limits': limits, **more}}


def limit(name, burst, **more):
    """Nothing comes back within a test."""
    return {'name': name, 'requests': 1, 'per': '24h', 'burst': burst, **more}


class RateLimits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(1)

    @classmethod
    def tearDownClass(cls):
        cls.origin.stop()

    def gateway(self, *objects, **more):
        return Gateway([CLASS] + service('web', self.origin.ports) + [ingress('web', 'a.example', 'web')] + list(objects), **more)

    def test_exact_through_tables_and_deaths(self):
        for workers in (1, 2, 4):
            with self.subTest(workers=workers), self.gateway(policy('clients', INGRESS, [limit('all', 100)]), workers=workers, args=['--rate-limit-keys', '2048']) as gw:
                statuses = []
                for i in range(20):
                    statuses += [gw.get('/')[0] for _ in range(6)]
                    if i % 2 == 0:
                        victim = gw.pids('worker')[0]
                        os.kill(victim, signal.SIGKILL)
                        gw.until(lambda v=victim: len(now := gw.pids('worker')) == workers and v not in now, what='a successor')
                    gw.write('more.json', [route('r', [f'h{i}.example'], [{'matches': [{'path': {'type': 'PathPrefix', 'value': '/'}}],
                                                                             'backendRefs': [{'name': 'web', 'port': 80}]}])])
                    gw.until(lambda n=i: gw.get('/', host=f'h{n}.example')[0] == 200, what='the next table')
                self.assertEqual((statuses.count(200), statuses.count(429), len(statuses)), (100, 20, 120))
                self.assertEqual(statuses[100:], [429] * 20, 'the first hundred, no others')
                # The last answer may be here before it is counted.
                counted = lambda name, value: gw.until(lambda: f'sluice_{name} {value}\n' in gw.metrics(), what=f'{name} {value}')
                counted('rate_limit_decisions_total{limit="default/clients/all",decision="admitted"}', 100)
                counted('rate_limit_decisions_total{limit="default/clients/all",decision="limited"}', 20)
                counted('local_replies_total{reason="rate_limited"}', 20)

    def test_policies_apply_together_and_tell(self):
        key = [{'type': 'Header', 'name': 'X-Api-Key'}]
        with self.gateway(policy('wide', {'group': '', 'kind': 'Namespace', 'name': 'default'}, [limit('all', 8)], responseFields='Both'),
                          policy('keys', INGRESS, [limit('key', 3, keys=key)])) as gw:
            log = os.path.join(gw.work, 'access.log')
            gw.configure(f'accessLog:\n  path: {log}\n')
            gw.until(lambda: os.path.exists(log), what='the log is open')
            gw.settled()
            answers = [gw.get('/', headers=[('x-api-key', 'one')]) for _ in range(4)]
            self.assertEqual([a[0] for a in answers], [200, 200, 200, 429])
            self.assertEqual(answers[0][1]['ratelimit'], '"keys.key";r=2;t=86400')
            self.assertEqual(answers[0][1]['ratelimit-policy'], '"keys.key";q=3;w=259200, "wide.all";q=8;w=691200')
            self.assertEqual(answers[0][1]['x-ratelimit-remaining'], '2')
            self.assertTrue(86000 < int(answers[3][1]['retry-after']) <= 86400, answers[3])
            self.assertEqual(json.loads(answers[3][2])['reason'], 'rate_limited')
            self.assertEqual([gw.get('/', headers=[('x-api-key', str(i))])[0] for i in range(7)], [200] * 5 + [429] * 2, 'what was refused took nothing')
            gw.until(lambda: slurp(log).count('\n') == 11, what='eleven lines')
            lines = [json.loads(line) for line in slurp(log).split('\n') if line]
            self.assertEqual([line.get('rate_limit') for line in lines], [None] * 3 + ['default/keys/key'] + [None] * 5 + ['default/wide/all'] * 2)

    def test_shadow_refuses_nobody(self):
        with self.gateway(policy('shadow', INGRESS, [limit('all', 2)], mode='Shadow')) as gw:
            answers = [gw.get('/') for _ in range(5)]
            self.assertEqual([a[0] for a in answers], [200] * 5)
            self.assertNotIn('ratelimit', answers[4][1])
            gw.until(lambda: 'sluice_rate_limit_decisions_total{limit="default/shadow/all",decision="shadowed"} 3\n' in gw.metrics(), what='three are counted')

    def test_the_number_of_keys_is_checked(self):
        for bad in ('0', '1000', '3000', '33554432', 'x', '-1024', ''):
            run = subprocess.run([os.path.join(BIN, 'sluice-dataplane'), f'--rate-limit-keys={bad}', '--socket', '/nonexistent/s'], capture_output=True, timeout=PATIENCE, text=True)
            self.assertNotEqual(run.returncode, 0, bad)
            self.assertIn('rate-limit-keys', run.stdout + run.stderr)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
