#!/usr/bin/env python3
"""Options that are taken, but said to be doubtful."""
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, Gateway, slurp  # noqa: E402


class Options(unittest.TestCase):
    def test_trust_in_everybody_is_warned_of(self):
        for cidr, doubtful in [('0.0.0.0/0', True), ('::/0', True), ('10.0.0.0/8', False)]:
            with self.subTest(cidr=cidr), Gateway([CLASS], config=f'trustedProxies: ["{cidr}"]\n') as gw:
                warned = lambda: 'trustedProxies holds every address' in slurp(gw.log_path)
                if doubtful:
                    gw.until(warned, what='a warning')
                self.assertEqual(warned(), doubtful)


if __name__ == '__main__':
    unittest.main(verbosity=2)
