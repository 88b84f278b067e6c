#!/usr/bin/env python3
"""Series of a running data plane: their number is bounded, none that was there goes away, and no counter goes back, through new tables, deaths of workers and of the
agent, and a new binary. What is asked is counted, to the request."""
import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib.gateway import CLASS, Gateway, Origin, ingress, service  # noqa: E402

LIMIT, ROUTES = 4, 9


def counters(text):
    """series -> value of everything that only grows."""
    kinds = dict(re.findall(r'^# TYPE (\S+) (\S+)$', text, re.M))
    out = {}
    for name, labels, value in re.findall(r'^(\w+)(\{.*\})? (\S+)$', text, re.M):
        base = re.sub(r'_(bucket|sum|count)$', '', name)
        # What the agent alone has seen begins with it.
        if kinds.get(name, kinds.get(base)) in ('counter', 'histogram', 'summary') and not name.startswith(('sluice_states_', 'sluice_state_write', 'sluice_propagation')):
            out[name + labels] = float(value)
    return out


class Series(unittest.TestCase):
    def setUp(self):
        self.origin = Origin(1)
        self.objects = [CLASS] + [one for ns in ('a', 'b', 'c') for one in service('web', self.origin.ports, ns=ns)]
        self.routes = [ingress(f'r{i}', f'r{i}.example', 'web', ns='abc'[i % 3]) for i in range(ROUTES)]
        self.gw = Gateway(self.objects + self.routes, workers=2, args=['--metric-routes', str(LIMIT)])
        self.asked = dict.fromkeys('abc', 0)
        self.seen = {}

    def tearDown(self):
        self.gw.stop()
        self.origin.stop()

    def ask(self, times=2):
        for i in [*range(ROUTES)] * times:
            self.assertEqual(self.gw.get('/', host=f'r{i}.example')[0], 200)
            self.asked['abc'[i % 3]] += 1

    def status(self, host):
        status = self.gw.get('/', host=host)[0]
        self.asked['a'] += status == 200
        return status

    def look(self):
        """Everything that was seen is there and not less; the sums are what was asked."""
        now = {}

        def counted():
            # An answer may be here before all of it is counted.
            now.clear()
            now.update(counters(self.gw.metrics()))
            return all(now.get(f'sluice_namespace_requests_total{{route_namespace="{ns}",code_class="2xx"}}', 0) == count and
                       now.get(f'sluice_request_duration_seconds_count{{route_namespace="{ns}"}}', 0) == count for ns, count in self.asked.items()) and \
                sum(v for k, v in now.items() if k.startswith('sluice_requests_total{') and 'code_class="2xx"' in k) == sum(self.asked.values())
        self.gw.until(counted, what=f'{self.asked} counted')
        for name, value in self.seen.items():
            self.assertIn(name, now)
            self.assertGreaterEqual(now[name], value, name)
        self.seen = now
        for ns, count in self.asked.items():
            self.assertEqual(now[f'sluice_namespace_requests_total{{route_namespace="{ns}",code_class="2xx"}}'], count)
            self.assertEqual(now[f'sluice_request_duration_seconds_count{{route_namespace="{ns}"}}'], count)
        routes = {labels: value for labels, value in ((k, v) for k, v in now.items() if k.startswith('sluice_requests_total{')) if 'code_class="2xx"' in labels}
        self.assertEqual(sum(routes.values()), sum(self.asked.values()))
        self.assertEqual(len([one for one in now if one.startswith('sluice_route_duration_seconds_count{') and 'route_kind="Ingress"' in one]) +
                         len([one for one in now if one.startswith('sluice_route_duration_seconds_count{') and 'route_kind="_none"' in one]), LIMIT)
        self.assertIn('sluice_requests_total{route_kind="_other",code_class="2xx"}', now)

    def replace(self, role):
        old = self.gw.pids(role)
        os.kill(old[0], signal.SIGKILL)
        self.gw.until(lambda: len(now := self.gw.pids(role)) == len(old) and old[0] not in now, what=f'another {role}')
        self.gw.until(lambda: 'sluice_workers_ready 2\n' in self.gw.metrics(), what='all are ready')

    def test_bounded_and_never_back(self):
        self.assertEqual(self.gw.get('/', host='nobody.example')[0], 404)
        self.ask()
        self.look()
        # A table without the routes, and with them again; each route's runtime is made anew.
        self.gw.write('objects.json', self.objects)
        self.gw.until(lambda: self.status('r0.example') == 404, what='the routes are gone')
        self.gw.settled()
        self.look()
        self.gw.write('objects.json', self.objects + self.routes[::-1])
        self.gw.until(lambda: self.status('r0.example') == 200, what='the routes are back')
        self.gw.settled()
        self.ask()
        self.look()
        for role in ('worker', 'worker', 'agent'):
            self.replace(role)
            self.ask(1)
            self.look()
        old = self.gw.pids('worker')
        self.gw.proc.send_signal(signal.SIGUSR2)
        self.gw.replaced('worker', old, 'the workers of the new binary')
        self.gw.until(lambda: 'sluice_workers_ready 2\n' in self.gw.metrics(), what='all are ready')
        self.ask(1)
        self.look()


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
