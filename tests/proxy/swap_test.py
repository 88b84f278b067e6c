#!/usr/bin/env python3
"""Tables change under load: each generation changes route, header and endpoint together, and an answer that mixes two generations fails. The load client is
open-loop, never retries, and checks every body. Environment: SWAPS (1000; --fast 100), SWAP_RATE (5000 requests/s)."""
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, Gateway, Load, Origin, route, service  # noqa: E402

SWAPS = int(os.environ.get('SWAPS', '1000'))
RATE = int(os.environ.get('SWAP_RATE', '5000'))


def generation(g, ports):
    """Everything of generation g in one file: the header the origin must see, the header the client must see, the backend and its endpoint."""
    name = f'svc-{g % len(ports)}'
    return service(name, [ports[g % len(ports)]]) + [route('swap', ['a.example'], [{
        'matches': [{'path': {'type': 'PathPrefix', 'value': '/'}}],
        'filters': [{'type': 'RequestHeaderModifier', 'requestHeaderModifier': {'set': [{'name': 'x-generation', 'value': str(g)}]}},
                    {'type': 'ResponseHeaderModifier', 'responseHeaderModifier': {'set': [{'name': 'x-generation', 'value': str(g)}]}}],
        'backendRefs': [{'name': name, 'port': 80}]}])]


class Swap(unittest.TestCase):
    def run_swaps(self, workers, swaps, rate):
        with Origin(8) as origin, Gateway([CLASS], workers=workers) as gw:
            gw.write('swap.json', generation(1, origin.ports))
            gw.until(lambda: gw.get('/')[0] == 200, what='the first generation answers')
            load = Load('swap', gw.http, 'a.example', '/', rate, 600, 64)
            try:
                start = time.monotonic()
                for g in range(2, swaps + 2):
                    gw.write('swap.json', generation(g, origin.ports))
                    time.sleep(max(0, start + (g - 1) * 0.03 - time.monotonic()))
                gw.until(lambda: gw.get('/')[1].get('x-generation') == str(swaps + 1), what='the last generation answers')
                result = load.finish()
            finally:
                load.stop()
            print(f'swaps {swaps}, workers {workers}: {result}')
            self.assertEqual(result['failed'], 0, result)
            self.assertEqual(result['mixed'], 0, result)
            self.assertGreater(result['generations'], 1, result)
            # How much of it there was depends on what else the machine does, and the client, the origin and the gateway share it: less is no fault of the gateway
            # (a lost or mixed answer is, above, at any rate). It only means that this run says little about changes at that rate: every table answers several
            # requests on average, and (coalescing may merge neighbours) most are seen on the wire.
            if result['issued'] < 0.9 * rate * result['seconds'] or result['requests'] <= 10 * swaps or result['generations'] <= swaps * 0.5:
                self.skipTest(f"0 failed, but the load client came to {result['requests'] / result['seconds']:.0f} of {rate} requests/s here, and {result['generations']} of {swaps} tables were seen")

    def test_changes_under_load_one_worker(self):
        self.run_swaps(1, SWAPS, RATE)

    def test_changes_under_load_two_workers(self):
        self.run_swaps(2, max(50, SWAPS // 5), RATE)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
