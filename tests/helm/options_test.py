#!/usr/bin/env python3
"""Ranges of the options in the chart and in the control plane are the same: what the chart lets through, the options file may hold, or a Pod would not start on it (and
a running one keep its old options, with nothing but a line in the log). What the file refuses, the chart refuses before anything is sent."""
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from helm import chart  # noqa: E402
from lib.gateway import BIN  # noqa: E402

POSITIVE = ('requestHeader', 'requestBodyIdle', 'keepAlive', 'upstreamConnect', 'upstreamResponse', 'tlsHandshake', 'upstreamIdle', 'tunnelIdle')
TIMEOUTS = POSITIVE + ('request', 'queueDelay', 'drain')


def every(keys, value):
    return '{' + ', '.join(f'{key}: {value}' for key in keys) + '}'


# Both ends of every range.
ACCEPTED = [
    f'timeouts: {every(TIMEOUTS, "24h")}\nlimits: {{headerBytes: 1Mi, headerCount: 1000, requestLine: 64Ki, bodyBytes: 999999999Gi, connections: 10000000, upstreamIdle: 1000000, minBodyRate: 1Gi}}\n'
    'connections: {balance: even}\nhttp2: {maxConcurrentStreams: 1000, streamWindow: 16Mi, connectionWindow: 16Mi}\n'
    'workers: 128\nlisteners: {bind: [255.255.255.255, "::", "::ffff:1.2.3.4"]}\ntrustedProxies: [0.0.0.0/0, 10.0.0.1/32, "::/0", "2001:db8::1/128", 192.0.2.1]\n'
    'accessLog: {path: "off"}',
    f'timeouts: {{{every(POSITIVE, "1ms")[1:-1]}, request: 0s, drain: "0"}}\nlimits: {{headerBytes: 1024, headerCount: 1, requestLine: 256, bodyBytes: 0, connections: 0, upstreamIdle: 0, minBodyRate: 0}}\n'
    'http2: {enabled: false, cleartext: false, maxConcurrentStreams: 1, streamWindow: 65535, connectionWindow: 65535, extendedConnect: false}\n'
    'workers: 0\npreStopSeconds: 0',
    # As Helm reads numbers back from a release's stored values.
    'limits: {bodyBytes: 1e10, connections: 1e7, upstreamIdle: 1e6}',
]

# (what the chart is given, the same for the options file if it is another text, the field that both name)
REFUSED = [('timeouts: {%s: 0s}' % key, f'timeouts.{key}') for key in POSITIVE]
REFUSED += [('timeouts: {drain: 86401s}', 'timeouts.drain'), ('timeouts: {request: 1441m}', 'timeouts.request'), ('timeouts: {keepAlive: 25h}', 'timeouts.keepAlive'),
            ('limits: {headerBytes: 1023}', 'limits.headerBytes'), ('limits: {headerBytes: 1025Ki}', 'limits.headerBytes'), ('limits: {headerCount: 0}', 'limits.headerCount'),
            ('limits: {headerCount: 1001}', 'limits.headerCount'), ('limits: {requestLine: 255}', 'limits.requestLine'), ('limits: {requestLine: 65Ki}', 'limits.requestLine'),
            ('limits: {connections: 10000001}', 'limits.connections'), ('limits: {upstreamIdle: 1000001}', 'limits.upstreamIdle'), ('workers: 129', 'workers'),
            ('limits: {minBodyRate: 1025Mi}', 'limits.minBodyRate'), ('http2: {maxConcurrentStreams: 0}', 'http2.maxConcurrentStreams'),
            ('http2: {maxConcurrentStreams: 1001}', 'http2.maxConcurrentStreams'), ('http2: {streamWindow: 65534}', 'http2.streamWindow'),
            ('http2: {streamWindow: 17Mi}', 'http2.streamWindow'), ('http2: {connectionWindow: 65534}', 'http2.connectionWindow'),
            ('http2: {connectionWindow: 17Mi}', 'http2.connectionWindow'), ('connections: {balance: fair}', 'connections.balance'),
            ('trustedProxies: [256.0.0.1]', 'trustedProxies'), ('trustedProxies: [10.0.0.0/33]', 'trustedProxies'), ('proxyProtocol: ["2001:db8::/129"]', 'proxyProtocol'),
            ('externalNameCidrs: [10.0.0]', 'externalNameCidrs'), ('listeners: {bind: [10.0.0.0/8]}', 'listeners.bind'), ('tls: {minVersion: "1.1"}', 'tls.minVersion')]


class Options(unittest.TestCase):
    def refusal(self, options):
        """What the control plane says of an options file; '' where it has got beyond it, to the folder that is not there."""
        with tempfile.TemporaryDirectory(prefix='sluice-options.') as work:
            path = os.path.join(work, 'options.yaml')
            with open(path, 'w') as f:
                f.write(options)
            done = subprocess.run([os.path.join(BIN, 'sluice-controlplane'), '--config', path, '--manifests', os.path.join(work, 'none'), '--socket', os.path.join(work, 's')],
                                  capture_output=True, text=True, timeout=120)
            self.assertNotEqual(done.returncode, 0)
            said = done.stdout + done.stderr
            return '' if 'is no folder that can be read' in said else said

    def test_what_the_chart_lets_through_is_taken(self):
        for values in ACCEPTED:
            with self.subTest(values):
                code, manifests, wrong = chart.template(values)
                self.assertEqual(code, 0, wrong)
                [options] = [one['data']['options.yaml'] for one in chart.objects(manifests) if one['kind'] == 'ConfigMap']
                self.assertEqual(self.refusal(options), '')

    def test_what_the_file_refuses_the_chart_refuses(self):
        for values, field in REFUSED:
            with self.subTest(values):
                self.assertIn(field, self.refusal(values))
                code, _, wrong = chart.template(values)
                self.assertNotEqual(code, 0)
                self.assertIn(field, wrong.replace("at '/", '').replace('/', '.'))


if __name__ == '__main__':
    unittest.main(verbosity=2)
