#!/usr/bin/env python3
"""Mutated bytes on the wire, against the real gateway: of HTTP/1.1 and HTTP/2 clients and of upstreams (tests/fuzz/README.md, the wire). Nothing malformed or not meant is
forwarded, no answer is malformed or passes for whole when it is not, nobody beside is harmed. The long form: WIRE_INPUTS=20000 WIRE_SEEDS=1,2,3."""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
for path in (os.path.join(HERE, '..'), os.path.join(HERE, '..', 'fuzz')):
    sys.path.insert(0, path)
from wire import inputs, planted  # noqa: E402
from wire.run import fuzz  # noqa: E402


class Oracles(unittest.TestCase):
    """What judges must be able to say no."""

    def test_planted_faults_are_told(self):
        count, untold = planted.planted()
        self.assertEqual(untold, [])
        self.assertGreater(count, 100)

    def test_good_traffic_is_not(self):
        self.assertEqual(planted.good(), [])

    def test_inputs_can_be_repeated(self):
        for kind in inputs.KINDS:
            for index in range(50):
                self.assertEqual(inputs.make(kind, 7, index), inputs.make(kind, 7, index))


class Wire(unittest.TestCase):
    def test_wire(self):
        seeds = [int(seed) for seed in os.environ.get('WIRE_SEEDS', '1').split(',')]
        wrong = fuzz(inputs.KINDS, seeds, int(os.environ.get('WIRE_INPUTS', '1500')), tell=lambda line: print(line, flush=True))
        self.assertEqual(wrong[:50], [], f'{len(wrong)} wrong; each again: tests/fuzz/wire/run.py with what is named')


if __name__ == '__main__':
    unittest.main(verbosity=2)
