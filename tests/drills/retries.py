#!/usr/bin/env python3
"""An origin that takes a request and ends without an answer, or resets, before the request, within it, behind it, on fresh and on kept connections: a request that is not
idempotent arrives at most once, whatever happens; an idempotent one may be tried again, and what is answered is told truly."""
import os
import socket
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import Drill, size  # noqa: E402
from lib.gateway import CLASS, Gateway, ingress, service  # noqa: E402
from lib.raw_http import Cut, Malformed, Reader  # noqa: E402

METHODS = ('GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'POST', 'PATCH')
UNSAFE = ('POST', 'PATCH')   # RFC 9110 9.2.2: neither is idempotent
DEATHS = ('fin', 'rst', 'part', 'at-accept', 'idle')
ROUNDS = size(20, 2)


class Upstream:
    """Counts the requests that arrived, by their x-id, at least the head of them. x-die says how a request ends; only the first arrival of an id dies, so that a replay is
    answered and seen."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=256)
        self.port, self.lock, self.arrived, self.refuse = self.listener.getsockname()[1], threading.Lock(), {}, 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            s, _ = self.listener.accept()
            with self.lock:
                self.refuse, now = max(0, self.refuse - 1), self.refuse > 0
            if now:
                self.end(s, True)
            else:
                threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    @staticmethod
    def end(s, reset):
        if reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()

    def serve(self, s):
        reader = Reader(s)
        try:
            while (message := reader.request()) is not None:
                name, die = message.all(b'x-id')[0], (message.all(b'x-die') or [b''])[0]
                with self.lock:
                    self.arrived[name] = self.arrived.get(name, 0) + 1
                    first = self.arrived[name] == 1
                if first and die in (b'fin', b'rst'):
                    self.end(s, die == b'rst')
                    return
                if first and die == b'part':
                    s.sendall(b'HTTP/1.1 200 OK\r\nContent-')
                    self.end(s, False)
                    return
                s.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n' + (b'' if message.start[0] == b'HEAD' else b'ok'))
                if die == b'close-after':  # kept, as far as the gateway knows
                    self.end(s, True)
                    return
        except (OSError, Cut, Malformed):
            pass
        finally:
            s.close()


def main():
    drill = Drill('retries', f'{len(METHODS)} methods x {len(DEATHS)} deaths x body or none x {ROUNDS}: POST and PATCH arrive at most once')
    upstream, number = Upstream(), 0
    dead = socket.socket()
    dead.bind(('127.0.0.1', 0))  # nobody listens: refused
    again, twice, statuses = {m: 0 for m in METHODS}, [], {}
    objects = service('web', [upstream.port]) + service('two', [dead.getsockname()[1], upstream.port]) + [ingress('web', 'a.example', 'web'), ingress('two', 'two.example', 'two')]
    with Gateway([CLASS] + objects) as gw:
        def ask(method, die, body=b'', host='a.example'):
            nonlocal number
            number += 1
            status = gw.get('/', host, method=method, headers=[('x-id', number), ('x-die', die)], body=body)[0]
            return status, upstream.arrived.get(str(number).encode(), 0)
        for _ in range(ROUNDS):
            for method in METHODS:
                for die in DEATHS:
                    for body in (b'', b'x' * 100, b'x' * 100000) if method not in ('GET', 'HEAD', 'OPTIONS') else (b'',):
                        if die == 'at-accept':  # reset unread, which the gateway cannot tell from read
                            ask('GET', 'fin')   # no connection is left over
                            with upstream.lock:
                                upstream.refuse = 1
                        if die == 'idle':       # the kept connection dies just as it is used
                            ask('GET', 'close-after')
                        status, arrived = ask(method, '' if die in ('at-accept', 'idle') else die, body)
                        with upstream.lock:
                            upstream.refuse = 0
                        statuses[f'{method} {die}'] = sorted({*statuses.get(f'{method} {die}', []), status})
                        again[method] += arrived > 1
                        if method in UNSAFE and arrived > 1:
                            twice.append((method, die, len(body), arrived))
                        if status == 200 and arrived == 0:
                            drill.need(False, f'{method} {die}: answered 200 without the origin')
                        if die in ('fin', 'rst') and method in UNSAFE and status == 200:
                            drill.need(False, f'{method} {die}: answered 200 although the origin gave none')
        # Nothing was sent where nobody listens: even these are tried elsewhere.
        past = [ask('POST', '', b'x' * 100, 'two.example') for _ in range(ROUNDS * 5)]
        drill.need(set(past) == {(200, 1)}, f'past a dead endpoint: {sorted(set(past))}')
    drill.need(not twice, f'{len(twice)} replayed: {twice[:5]}')
    drill.done(requests=number, replayed_not_idempotent=len(twice), tried_again=again, posts_past_a_dead_endpoint=len(past),
               statuses={k: v for k, v in statuses.items() if k.split()[0] in ('GET', 'PUT', 'POST')})


if __name__ == '__main__':
    main()
