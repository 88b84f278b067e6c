#!/usr/bin/env python3
"""Every query of the dashboard and of the alerts, asked of a real Prometheus that scrapes both planes of a gateway under traffic: none is an error, and none
of the dashboard's is empty."""
import json
import time
import unittest

import scraped
from lib.gateway import SLOW, slurp, until


class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.traffic = scraped.Traffic()
        gw = cls.traffic.gw
        cls.prometheus = scraped.Prometheus([gw.admin, gw.ports['controlplane_admin']])
        cls.traffic.kill_worker()

    @classmethod
    def tearDownClass(cls):
        cls.prometheus.stop()
        cls.traffic.stop()

    def test_queries(self):
        """Traffic goes on until each query has something to show; a query that never has is the failure."""
        wanted = {(title, query) for title, panel in scraped.panels() for query, _ in scraped.queries(panel)}
        self.assertGreater(len(wanted), 40)
        statuses, end = {}, time.monotonic() + 300 * SLOW
        while wanted and time.monotonic() < end:
            for _ in range(10):
                for name, status in self.traffic.round().items():
                    statuses.setdefault(name, set()).add(status)
            self.traffic.change()
            wanted = {(title, query) for title, query in wanted if not self.prometheus.query(query)}
        self.assertEqual(sorted(wanted), [], f'no result; {statuses}')
        self.assertTrue({200} <= statuses['web'] and statuses['redirect'] == {308} and statuses['none'] == {404}, statuses)

        for rule in scraped.alerts():
            self.prometheus.query(rule['expr'])
        # Every rule has its turn, and a scrape that was late is followed by another one.
        health = lambda: {rule['name']: rule['health'] for group in self.prometheus.api('rules')['groups'] for rule in group['rules']}
        until(lambda: health() == {rule['alert']: 'ok' for rule in scraped.alerts()}, 120 * SLOW, 'every rule is evaluated', lambda: str(health()))
        down = lambda: [one for one in self.prometheus.api('targets')['activeTargets'] if one['health'] != 'up']
        until(lambda: not down(), 60 * SLOW, 'every target is up', lambda: str(down()))
        clashes = self.prometheus.api('series', **{'match[]': '{__name__=~"sluice_.*",' + 'job="sluice"}'})
        self.assertEqual({label for one in clashes for label in one if label.startswith('exported_')}, set(), "labels that Prometheus' own push aside")

    def test_form(self):
        dashboard = json.loads(slurp(scraped.DASHBOARD))
        self.assertEqual({one['name'] for one in dashboard['templating']['list']}, {'datasource', 'namespace', 'job', 'route_namespace'})
        ids = [one['id'] for one in dashboard['panels']]
        self.assertEqual(len(ids), len(set(ids)))
        taken = {}
        for one in dashboard['panels']:
            place = one['gridPos']
            self.assertLessEqual(place['x'] + place['w'], 24)
            for cell in ((x, y) for x in range(place['x'], place['x'] + place['w']) for y in range(place['y'], place['y'] + place['h'])):
                self.assertNotIn(cell, taken, f'{one["title"]} lies on {taken.get(cell)}')
                taken[cell] = one['title']
            for target in one.get('targets', []):
                self.assertEqual(target['datasource'], {'type': 'prometheus', 'uid': '${datasource}'})


if __name__ == '__main__':
    unittest.main(verbosity=2)
