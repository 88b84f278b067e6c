#!/usr/bin/env python3
"""The alert rules: promtool reads them and runs alerts.tests.yaml, which has for each alert a case that fires and one that does not. A scrape of both planes
passes promtool's check of names, units and help texts. The operations guide has every alert, and every reason of an answer."""
import os
import re
import shutil
import subprocess
import tempfile
import unittest

import scraped
import yaml
from lib.gateway import CLASS, ROOT, Gateway, slurp

CASES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'alerts.tests.yaml')


class Alerts(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix='sluice-alerts.')
        for path in (scraped.RULES, CASES):
            shutil.copy(path, self.work)

    def tearDown(self):
        shutil.rmtree(self.work)

    def promtool(self, *args):
        done = subprocess.run(['promtool', *args], cwd=self.work, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_rules_are_rules(self):
        self.assertIn('SUCCESS', self.promtool('check', 'rules', '--lint=all', '--lint-fatal', 'alerts.yaml'))

    def test_each_fires_when_it_should_and_only_then(self):
        self.promtool('test', 'rules', 'alerts.tests.yaml')
        fires, rests = set(), set()
        for case in yaml.safe_load(slurp(CASES))['tests']:
            for one in case['alert_rule_test']:
                (fires if one['exp_alerts'] else rests).add(one['alertname'])
        names = {rule['alert'] for rule in scraped.alerts()}
        self.assertGreater(len(names), 15)
        self.assertEqual((names - fires, names - rests), (set(), set()), 'alerts without a case')

    def test_each_says_what_it_is(self):
        for rule in scraped.alerts():
            self.assertTrue(rule['alert'].startswith('Sluice'), rule['alert'])
            self.assertIn(rule['labels']['severity'], ('critical', 'warning', 'info'))
            self.assertEqual(set(rule['annotations']), {'summary', 'description'}, rule['alert'])

    def test_operations_guide_has_each(self):
        guide = slurp(os.path.join(ROOT, 'docs', 'operations.md')).split('## What to alert on')[1].split('\n## ')[0]
        self.assertEqual(set(re.findall(r'\*\*(Sluice\w+)\*\*', guide)), {rule['alert'] for rule in scraped.alerts()})

    def test_operations_guide_has_each_reason_of_an_answer(self):
        reasons = re.findall(r'^\| `(\w+)` \|', slurp(os.path.join(ROOT, 'docs', 'reference', 'reasons.md')), re.M)
        self.assertGreater(len(reasons), 50)
        rows = re.findall(r'^\| (`[^|]*) \|', slurp(os.path.join(ROOT, 'docs', 'operations.md')).split('\n## Reasons\n')[1].split('\n## ')[0], re.M)
        self.assertEqual(sorted(word for row in rows for word in re.findall(r'`(\w+)`', row)), sorted(reasons))

    def test_every_metric_that_is_asked_for_exists(self):
        known = set(re.findall(r'^\| `(\w+)` ', slurp(os.path.join(ROOT, 'docs', 'reference', 'metrics.md')), re.M))
        asked = [rule['expr'] for rule in scraped.alerts()] + [query for _, panel in scraped.panels() for query, _ in scraped.queries(panel)]
        for name in re.findall(r'\bsluice_\w+', ' '.join(asked)):
            self.assertIn(re.sub(r'_(bucket|sum|count)$', '', name) if name not in known else name, known)


class Scrape(unittest.TestCase):
    def test_promtool_has_nothing_to_say(self):
        with Gateway([CLASS], args=['--controlplane-admin-port', '0']) as gw:
            gw.get('/')
            for port in (gw.admin, gw.ports['controlplane_admin']):
                status, _, body = gw.get('/metrics', host='admin', port=port)
                self.assertEqual(status, 200)
                done = subprocess.run(['promtool', 'check', 'metrics'], input=body, capture_output=True)
                self.assertEqual((done.returncode, done.stdout.decode() + done.stderr.decode()), (0, ''))


if __name__ == '__main__':
    unittest.main(verbosity=2)
