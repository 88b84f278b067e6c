#!/usr/bin/env python3
"""The short form of every drill that no other stage of hack/test has, each a test of its own; only some: SHORT_DRILLS=NAME,...."""
import os
import subprocess
import sys
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
DRILL = os.path.join(ROOT, 'hack', 'drill')
NAMES = [n for n in os.environ.get('SHORT_DRILLS', '').split(',') if n] or ['worker-kill', 'agent-kill', 'controlplane-kill', 'propagation', 'upgrade', 'api-away', 'cold-start',
                                                                              'hostile-objects', 'slow-clients', 'cut-answers', 'retries', 'soak', 'idle-clients', 'websockets', 'overload']


class Drills(unittest.TestCase):
    pass


def add(name):
    def test(self):
        done = subprocess.run([sys.executable, DRILL, '--short', name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout.strip(), flush=True)
        self.assertEqual(done.returncode, 0, done.stdout)
    setattr(Drills, 'test_' + name.replace('-', '_'), test)


for one in NAMES:
    add(one)

if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
