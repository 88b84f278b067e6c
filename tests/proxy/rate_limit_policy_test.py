#!/usr/bin/env python3
"""RateLimitPolicy from the manifest to the answer: a limit is hit, told, changed and taken away while the gateway runs. Buckets refill so slowly (an hour or
more a token) that counts are exact on any machine."""
import json
import os
import shutil
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, ROOT, Gateway, Origin, ingress, route, service, slurp  # noqa: E402

HOUR = {'requests': 1, 'per': '1h'}


def policy(name, target, limits, ns='default', **spec):
    group, kind, of, *section = target
    ref = {'group': group, 'kind': kind, 'name': of, **({'sectionName': section[0]} if section else {})}
    return {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': name, 'namespace': ns},
            'spec': {'targetRefs': [ref], 'limits': limits, **spec}}


def route_to(name, section='all'):
    return route(name, [f'{name}.example'], [{'name': section, 'backendRefs': [{'name': 'web', 'port': 80}]}])


class RateLimits(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(1)
        cls.gw = Gateway([CLASS] + service('web', cls.origin.ports), workers=2)

    @classmethod
    def tearDownClass(cls):
        cls.gw.stop()
        cls.origin.stop()

    def ask(self, host, headers=(), path='/'):
        return self.gw.get(path, host=host, headers=headers)

    def statuses(self, host, count, headers=()):
        return [self.ask(host, headers)[0] for _ in range(count)]

    def in_force(self, name, objects, host, check):
        """Writes the manifests and waits for an answer that shows them; that one has taken a token if it was not refused. Then both workers have them."""
        self.gw.write(name, objects)
        self.gw.until(lambda: check(self.ask(host)), what=f'{name} is in force')
        self.gw.settled()

    def test_hit_changed_deleted(self):
        self.in_force('r.json', [route_to('life')], 'life.example', lambda a: a[0] == 200)
        self.assertNotIn('ratelimit-policy', self.ask('life.example')[1])
        limit = {'name': 'all', **HOUR, 'burst': 3}
        self.in_force('p.json', [policy('life', ('sluice.dev', 'Route', 'life'), [limit])], 'life.example', lambda a: 'ratelimit-policy' in a[1])
        status, headers, _ = self.ask('life.example')
        self.assertEqual((status, headers['ratelimit-policy'], headers['ratelimit'].split(';t=')[0]), (200, '"life.all";q=3;w=10800', '"life.all";r=1'))
        self.assertEqual(self.statuses('life.example', 2), [200, 429], 'the third is the last: exact over both workers')
        status, headers, body = self.ask('life.example')
        self.assertEqual(status, 429)
        self.assertTrue(3500 < int(headers['retry-after']) <= 3600, headers)
        self.assertTrue(headers['ratelimit'].startswith('"life.all";r=0;t='), headers)
        self.assertIn('rate_limited', json.dumps(json.loads(body)))
        self.gw.until(lambda: 'sluice_rate_limit_decisions_total{limit="default/life/all",decision="limited"} ' in self.gw.metrics(), what='it is counted')

        # Two tokens more: the bucket is the same one.
        self.in_force('p.json', [policy('life', ('sluice.dev', 'Route', 'life'), [{**limit, 'burst': 5}])], 'life.example', lambda a: a[0] == 200)
        self.assertEqual(self.statuses('life.example', 3), [200, 429, 429])
        # Of a renamed limit nobody has taken anything yet.
        self.in_force('p.json', [policy('life', ('sluice.dev', 'Route', 'life'), [{**limit, 'name': 'other'}])], 'life.example', lambda a: a[0] == 200)
        self.assertEqual(self.statuses('life.example', 3), [200, 200, 429])

        self.gw.remove('p.json')
        self.gw.until(lambda: self.ask('life.example')[0] == 200, what='the policy is gone')
        self.gw.settled()
        self.assertEqual(set(self.statuses('life.example', 10)), {200})
        self.assertNotIn('ratelimit', self.ask('life.example')[1])

    def test_named_rule_only(self):
        rules = [{'name': n, 'matches': [{'path': {'type': 'PathPrefix', 'value': '/' + n}}], 'backendRefs': [{'name': 'web', 'port': 80}]} for n in ('login', 'free')]
        self.gw.write('section.json', [route('section', ['section.example'], rules), policy('section', ('sluice.dev', 'Route', 'section', 'login'), [{'name': 'a', **HOUR}])])
        self.gw.until(lambda: self.ask('section.example', path='/login')[0] == 429, what='the rule is limited')
        self.gw.settled()
        self.assertEqual({self.ask('section.example', path='/free')[0] for _ in range(5)}, {200})

    def test_namespace_and_ingress_apply_together(self):
        """The strictest answers; a bucket is shared by everything that its policy targets."""
        hosts = ('one.together.example', 'two.together.example')
        objects = [o for o in service('web', self.origin.ports, ns='team')] + [ingress(f'i{i}', host, 'web', ns='team') for i, host in enumerate(hosts)]
        self.in_force('team.json', objects, hosts[1], lambda a: a[0] == 200)
        wide = policy('wide', ('', 'Namespace', 'team'), [{'name': 'all', **HOUR, 'burst': 4}], ns='team')
        narrow = policy('narrow', ('networking.k8s.io', 'Ingress', 'i0'), [{'name': 'one', **HOUR, 'burst': 2}], ns='team', responseFields='Legacy')
        self.in_force('team-policies.json', [wide, narrow], hosts[1], lambda a: 'ratelimit-policy' in a[1])
        got = [self.ask(hosts[0]) for _ in range(3)]
        self.assertEqual([a[0] for a in got], [200, 200, 429])
        self.assertEqual(got[2][1]['ratelimit-policy'], '"narrow.one";q=2;w=7200, "wide.all";q=4;w=14400')
        self.assertEqual((got[2][1]['x-ratelimit-limit'], got[2][1]['x-ratelimit-remaining']), ('2', '0'))
        self.assertEqual(self.statuses(hosts[1], 2), [200, 429], 'three of the four tokens were taken through both hosts; who was refused took none')

    def test_class_keys_exemptions_and_shadow(self):
        other = {'apiVersion': 'networking.k8s.io/v1', 'kind': 'IngressClass', 'metadata': {'name': 'second'}, 'spec': {'controller': 'sluice.dev/ingress-controller'}}
        def of_class(name):
            r = route_to(name)
            r['spec']['parentRefs'][0]['name'] = 'second'
            return r
        by_key = policy('by-key', ('networking.k8s.io', 'IngressClass', 'second'), [{'name': 'k', **HOUR, 'keys': [{'type': 'Header', 'name': 'X-Key'}, {'type': 'Host'}], 'whenMissing': 'Skip'}])
        exempt = policy('exempt', ('sluice.dev', 'Route', 'keyed'), [{'name': 'e', **HOUR}], exempt={'cidrs': ['127.0.0.0/8']}, responseFields='None')
        shadow = policy('shadow', ('sluice.dev', 'Route', 'shadowed'), [{'name': 's', **HOUR}], mode='Shadow')
        self.gw.write('class.json', [other, of_class('keyed'), route_to('shadowed'), by_key, exempt, shadow])
        self.gw.until(lambda: self.ask('keyed.example', [('x-key', 'probe')])[0] == 429, what='the class is limited')
        self.gw.settled()
        for key in ('a', 'b'):
            self.assertEqual(self.statuses('keyed.example', 2, [('x-key', key)]), [200, 429], key)
        self.assertEqual(set(self.statuses('keyed.example', 3)), {200}, 'without the header it is not counted')
        self.gw.until(lambda: self.ask('shadowed.example')[0] == 200, what='the route is there')
        self.assertEqual(set(self.statuses('shadowed.example', 5)), {200})
        self.gw.until(lambda: any('decision="shadowed"' in line and '"default/shadow/s"' in line and not line.endswith(' 0') for line in self.gw.metrics().splitlines()), what='it is counted')

    def test_unreadable_policy_closes_what_it_targets(self):
        self.in_force('closed.json', [route_to('closed'), route_to('open')], 'open.example', lambda a: a[0] == 200)
        broken = policy('broken', ('sluice.dev', 'Route', 'closed'), [{'name': 'good', **HOUR}, {'name': 'bad', 'requests': 0}])
        self.in_force('broken.json', [broken], 'closed.example', lambda a: a[0] == 500)
        self.assertIn('rule_invalid', self.ask('closed.example')[2].decode())
        self.assertEqual(self.ask('open.example')[0], 200)
        self.gw.until(lambda: 'spec.limits[1].requests' in slurp(self.gw.log_path), what='the log names object and field')
        self.gw.remove('broken.json')
        self.gw.until(lambda: self.ask('closed.example')[0] == 200, what='the policy is gone')


class Example(unittest.TestCase):
    def test_is_honoured(self):
        with Gateway([CLASS]) as gw:
            for folder in ('quickstart/manifests', 'rate-limits'):
                folder = os.path.join(ROOT, 'examples', folder)
                for name in sorted(os.listdir(folder)):
                    if name.endswith('.yaml'):
                        shutil.copy(os.path.join(folder, name), os.path.join(gw.folder, name + '~'))
                        os.rename(os.path.join(gw.folder, name + '~'), os.path.join(gw.folder, name))
            gw.until(lambda: 'ratelimit-policy' in gw.get('/', host='shop.localhost')[1], what='the example limits the quickstart')
            self.assertNotIn('RateLimitPolicy', slurp(gw.log_path), 'no problem of it is told')


if __name__ == '__main__':
    unittest.main(verbosity=2)
