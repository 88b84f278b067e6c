#!/usr/bin/env python3
"""A data plane that has more to do than it can: a control group with little memory and downloads that nobody takes, descriptors used up, bodies that drip, more requests than it can serve. It
says so with 503 and Retry-After (408), keeps its processes, and serves again when that is over."""
import contextlib
import os
import re
import resource
import selectors
import socket
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.control_group import control_group, inside  # noqa: E402
from lib.gateway import CLASS, SLOW, Gateway, Load, Origin, ingress, read_answer, route, service  # noqa: E402

MIB = 1024 * 1024


class Spring:
    """Answers each request with as many bytes as its path says, as fast as they are taken; the bytes are made once."""
    BLOCK = b'x' * 65536

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=1024)
        self.listener.setblocking(False)
        self.ports = [self.listener.getsockname()[1]]
        self.over = False
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while not self.over:
            for key, _ in self.selector.select(0.2):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        s, _ = self.listener.accept()
                        s.setblocking(False)
                        self.selector.register(s, selectors.EVENT_READ, {'in': b'', 'head': b'', 'left': 0})
                    continue
                try:
                    self.step(key.fileobj, key.data)
                except BlockingIOError:
                    pass
                except OSError:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()

    def step(self, s, state):
        if state['left'] == 0 and not state['head']:
            got = s.recv(65536)
            if not got:
                raise ConnectionError
            state['in'] += got
            head, end, rest = state['in'].partition(b'\r\n\r\n')
            length = re.search(rb'content-length: (\d+)', head, re.I)
            body = int(length[1]) if length else 0
            if not end or len(rest) < body:
                return
            state['in'] = rest[body:]
            state['left'] = int(head.split()[1][1:])
            state['head'] = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % state['left']
            self.selector.modify(s, selectors.EVENT_WRITE, state)
        if state['head']:
            state['head'] = state['head'][s.send(state['head']):]
        while state['left']:
            state['left'] -= s.send(memoryview(self.BLOCK)[:state['left']])
        self.selector.modify(s, selectors.EVENT_READ, state)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()


def level(gateway, resource):
    return int(re.search(rf'^sluice_overload_level{{resource="{resource}"}} (\d+)', gateway.metrics(), re.M)[1])


def action(gateway, name):
    return int(re.search(rf'^sluice_overload_actions_total{{action="{name}"}} (\d+)', gateway.metrics(), re.M)[1])


def untaken_downloads(gateway, path, count):
    """An HTTP/2 connection (RFC 9113) by hand with so many requests and windows of nothing: what is answered is held by the gateway, and not by the kernel."""
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + payload
    host = b'a.example'
    head = b'\x82\x86\x04' + bytes([len(path)]) + path + b'\x01' + bytes([len(host)]) + host
    data = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n' + frame(4, 0, 0, (4).to_bytes(2, 'big') + bytes(4))
    data += b''.join(frame(1, 5, 2 * i + 1, head) for i in range(count))
    s = gateway.connect()
    try:
        s.sendall(data)
    except OSError:
        s.close()
        raise
    return s


class Overload(unittest.TestCase):
    def test_little_memory_under_downloads_that_nobody_takes(self):
        limit = int(128 * MIB * SLOW)  # sanitizers need more for themselves
        with control_group(memory=limit) as folders, Spring() as origin, contextlib.ExitStack() as clients:
            with Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], wrap=inside(folders)) as gateway:
                self.assertEqual(gateway.get('/1024')[0], 200)
                workers = gateway.pids('worker')

                def shed():
                    """More downloads, and whether one more request is shed. OSError: refused, or reset."""
                    clients.enter_context(untaken_downloads(gateway, b'/131072', 20))
                    status, headers, body = gateway.get('/1024')
                    return status == 503 and 'retry-after' in headers and b'"overloaded"' in body
                gateway.until(shed, what='a request is shed')
                self.assertGreater(action(gateway, 'shed'), 0)
                for _ in range(200):  # and much more than it could hold
                    with contextlib.suppress(OSError):
                        clients.enter_context(untaken_downloads(gateway, b'/131072', 20))
                self.assertEqual(gateway.pids('worker'), workers, 'nobody died')
                self.assertIn('"resource":"memory"', '\n'.join(gateway.lines()))
                clients.close()
                gateway.until(lambda: level(gateway, 'memory') == 0, what='it is over')
                self.assertEqual(gateway.get('/1024')[0], 200)
                self.assertEqual(gateway.pids('worker'), workers, 'nobody died')

    def test_more_requests_than_can_be_served(self):
        """Each of 1,000 clients asks again as soon as it is answered: who is sheddable is shed, a share of them, and nobody else notices more than the wait."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        rules = [{'name': p, 'priority': p, 'matches': [{'path': {'type': 'Exact', 'value': f'/{p}'}}], 'backendRefs': [{'name': 'web', 'port': 80}],
                  'filters': [{'type': 'URLRewrite', 'urlRewrite': {'path': {'type': 'ReplaceFullPath', 'replaceFullPath': '/6'}}}]} for p in ('sheddable', 'critical')]
        flood = ingress('flood', 'flood.example', 'web', annotations={'sluice.dev/priority': 'sheddable'})
        with Origin() as origin, Gateway([CLASS] + service('web', origin.ports) + [flood, route('web', ['a.example'], rules)], config='timeouts: {queueDelay: 20ms}\n') as gateway:
            def shed(priority):
                return int(re.search(rf'^sluice_overload_shed_total{{priority="{priority}"}} (\d+)', gateway.metrics(), re.M)[1])
            gateway.until(lambda: {gateway.get(f'/{p}')[0] for p in ('sheddable', 'critical')} == {200}, what='both are served')
            workers = gateway.pids('worker')
            load = Load('over', gateway.http, 'flood.example', '/6', 1000000, 300, 1000, 0)
            try:
                gateway.until(lambda: shed('sheddable') > 1000, seconds=200, what='requests are shed')
                self.assertEqual([gateway.get('/critical')[0] for _ in range(100)], [200] * 100)
                answers = []

                def told():
                    answers.append(gateway.get('/sheddable'))
                    return any(status == 503 for status, _, _ in answers)
                gateway.until(told, what='a rule of a Route is sheddable, too')
                self.assertEqual({status for status, _, _ in answers} - {200}, {503})
                for status, headers, body in answers:
                    if status == 503:
                        self.assertIn('retry-after', headers)
                        self.assertIn(b'"overloaded"', body)
                flood = load.finish()
            finally:
                load.stop()
            self.assertEqual((flood['failed'], flood['bare'], flood['first_failure']), (0, 0, ''), flood)
            self.assertGreater(flood['served'], 0, flood)
            self.assertGreater(flood['refused'], 1000, flood)
            gateway.until(lambda: level(gateway, 'delay') == 0, what='it is over')
            self.assertEqual(gateway.get('/sheddable')[0], 200)
            self.assertEqual(shed('critical'), 0)
            self.assertEqual(gateway.pids('worker'), workers, 'nobody died')

    def test_descriptors_used_up(self):
        few = ('sh', '-c', 'ulimit -n 256 && exec "$@"', 'sh')
        with Spring() as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], wrap=few) as gateway, contextlib.ExitStack() as clients:
            workers = gateway.pids('worker')
            kept = clients.enter_context(gateway.connect())
            idle = []
            for _ in range(400):
                with contextlib.suppress(OSError):  # reset before connect() has returned
                    idle.append(clients.enter_context(gateway.connect()))
            # The first ones are served, those beyond told, the last ones reset.
            answers = []
            for s in idle:
                with contextlib.suppress(OSError):
                    s.sendall(b'GET /10 HTTP/1.1\r\nHost: a.example\r\n\r\n')
                    answers.append(read_answer(s))
            self.assertIn(200, {status for status, _, _ in answers})
            told = [headers for status, headers, _ in answers if status == 503]
            self.assertTrue(told, 'nobody was told')
            self.assertTrue(all('retry-after' in headers and headers['connection'] == 'close' for headers in told))
            kept.sendall(b'GET /10 HTTP/1.1\r\nHost: a.example\r\n\r\n')
            self.assertEqual(read_answer(kept)[0], 200)
            clients.close()
            gateway.until(lambda: gateway.get('/10')[0] == 200, what='served again')
            self.assertEqual(gateway.pids('worker'), workers, 'nobody died')

    def test_a_body_that_drips(self):
        with Spring() as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], config='limits:\n  minBodyRate: 100000\n') as gateway:
            self.assertEqual(gateway.get('/10', method='POST', body=b'x' * 300000)[0], 200)
            with gateway.connect() as s:
                s.sendall(b'POST /10 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n')
                s.setblocking(False)
                answer = b''

                def told():
                    nonlocal answer
                    with contextlib.suppress(BlockingIOError):
                        s.send(b'x')
                    with contextlib.suppress(BlockingIOError):
                        answer += s.recv(65536)
                    return b'request_body_timeout' in answer
                gateway.until(told, what='408')
                self.assertTrue(answer.startswith(b'HTTP/1.1 408 '), answer)


if __name__ == '__main__':
    unittest.main()
