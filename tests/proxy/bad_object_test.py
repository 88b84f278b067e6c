#!/usr/bin/env python3
"""One bad Ingress among 1,000: the other 999 are live, now and after a change, the bad one's own good rules too, and what is wrong with it is said."""
import json
import os
import socket
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, Gateway, Origin, ingress, read_answer, service, slurp  # noqa: E402

COUNT, BAD = 1000, 500


def host(i):
    return f'host-{i:04}.example.com'


def objects(port):
    out = [CLASS] + service('web', [port])
    for i in range(COUNT):
        out.append(ingress(f'web-{i:04}', host(i), 'web'))
    rules = out[3 + BAD]['spec']['rules']
    rules[0]['http']['paths'] += [{'path': 'no slash', 'pathType': 'Prefix', 'backend': {'service': {'name': 'web', 'port': {'number': 80}}}},
                                  {'path': '/absent', 'pathType': 'Prefix', 'backend': {'service': {'name': 'absent', 'port': {'number': 80}}}}]
    rules.append({'host': 'NOT A HOST'})
    return out


class BadObject(unittest.TestCase):
    def statuses(self, gw, path):
        """Of every host, on one connection."""
        out = []
        with socket.create_connection(('127.0.0.1', gw.http), timeout=PATIENCE) as s:
            for i in range(COUNT):
                s.sendall(f'GET {path} HTTP/1.1\r\nHost: {host(i)}\r\n\r\n'.encode())
                out.append(read_answer(s)[0])
        return out

    def test_the_others_are_live(self):
        with Origin(1) as origin, Gateway(objects(origin.ports[0])) as gw:
            gw.until(lambda: gw.get('/', host=host(COUNT - 1))[0] == 200, what='the last Ingress answers')
            self.assertEqual(self.statuses(gw, '/'), [200] * COUNT)
            # Of the bad one: the rule that cannot be honoured answers its error, the others are served.
            self.assertEqual(gw.get('/absent', host=host(BAD))[0], 503)
            gw.until(lambda: all(f'"reason":"{reason}"' in '\n'.join(gw.lines()) for reason in ('InvalidPath', 'InvalidHost', 'BackendNotFound')), what='all of it is told')
            log = slurp(gw.log_path)
            for reason in ('InvalidPath', 'InvalidHost', 'BackendNotFound'):
                line = next((line for line in log.split('\n') if f'"reason":"{reason}"' in line), '')
                self.assertIn(f'"name":"web-{BAD:04}"', line, reason)
            # A change of another one still gets through.
            gw.write('more.json', [ingress('more', 'more.example.com', 'web')])
            gw.until(lambda: gw.get('/', host='more.example.com')[0] == 200, what='an Ingress added beside the bad one')

    def test_an_undecodable_one_takes_nothing_with_it(self):
        broken = ingress('broken', 'broken.example.com', 'web')
        broken['spec']['rules'] = 'none'
        with Origin(1) as origin, Gateway(objects(origin.ports[0]) + [broken]) as gw:
            gw.until(lambda: gw.get('/', host=host(COUNT - 1))[0] == 200, what='the last Ingress answers')
            self.assertEqual(self.statuses(gw, '/'), [200] * COUNT)
            self.assertEqual(gw.get('/', host='broken.example.com')[0], 404)
            said = lambda: [json.loads(line) for line in gw.lines() if '"name":"broken"' in line]
            gw.until(lambda: any(line.get('field', '').startswith('spec.rules') for line in said()), what='the log names the field')


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
