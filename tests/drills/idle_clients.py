#!/usr/bin/env python3
"""1,000 clients that keep their connections and ask once a minute, over 3,600 tables: no worker ever has more than four tables mapped, no client loses its connection."""
import os
import resource
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import SHORT, Drill, resident_kib, size, tables_mapped  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, Origin, ingress, read_answer, route, service  # noqa: E402

CLIENTS = size(1000, 200)
SWAPS = size(3600, 120)
SPACING = 0.05


def table(g):
    return [route('swap', ['swap.example'], [{'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': f'{g}'}}]}])]


def main():
    drill = Drill('idle-clients', f'{CLIENTS} keep-alive clients over {SWAPS} tables, at most 4 mapped')
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with Origin(1) as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], workers=2, config='timeouts: {keepAlive: 10m}\n') as gw:
        gw.write('swap.json', table(0))
        gw.until(lambda: gw.get(host='swap.example')[2] == b'0', what='the first table')

        def ask(s):
            s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
            return read_answer(s)[0]
        socks, failed, mapped, seen = [socket.create_connection(('127.0.0.1', gw.http), timeout=PATIENCE) for _ in range(CLIENTS)], 0, 0, 0
        failed += sum(ask(s) != 200 for s in socks)
        workers = gw.pids('worker')
        before = [resident_kib(p)['Anon'] for p in workers]
        start, asked = time.monotonic(), 0
        with gw.connect() as probe:
            for g in range(1, SWAPS + 1):
                gw.write('swap.json', table(g))
                time.sleep(max(0.0, start + g * SPACING - time.monotonic()))
                while asked < CLIENTS * (time.monotonic() - start) / 60:
                    try:
                        failed += ask(socks[asked % CLIENTS]) != 200
                    except OSError:
                        failed += 1
                    asked += 1
                mapped = max(mapped, *map(tables_mapped, workers))
                probe.sendall(b'GET / HTTP/1.1\r\nHost: swap.example\r\n\r\n')
                seen += read_answer(probe)[2] == str(g).encode()
        gw.until(lambda: gw.get(host='swap.example')[2] == str(SWAPS).encode(), what='the last table')
        for s in socks:
            try:
                failed += ask(s) != 200
            except OSError:
                failed += 1
        drill.need(gw.pids('worker') == workers, 'workers were replaced')
        drill.need(0 < mapped <= 4, f'{mapped} tables mapped')
        drill.need(failed == 0, f'{failed} requests failed')
        drill.need(SHORT or seen > SWAPS / 2, f'{seen} of {SWAPS} tables were on the wire before the next')
        # What a table costs is gone with it: 3,600 of them would show.
        grown = [resident_kib(p)['Anon'] - b for p, b in zip(workers, before)]
        drill.need(max(grown) <= 5 * 1024, f'memory of the workers grew: {grown} KiB')
        drill.done(clients=CLIENTS, tables=SWAPS, on_the_wire_at_once=seen, mapped_at_most=mapped, requests=2 * CLIENTS + asked, failed=failed, workers_grew_KiB=grown)
        for s in socks:
            s.close()


if __name__ == '__main__':
    main()
