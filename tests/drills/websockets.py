#!/usr/bin/env python3
"""1,000 idle WebSockets, half of them over TLS, over 3,600 tables: none is closed, each echoes at the end as at the beginning, no worker ever has more than four tables mapped."""
import os
import resource
import select
import ssl
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import SHORT, Drill, resident_kib, size, tables_mapped  # noqa: E402
from drills.protocols import echoes, open_websocket  # noqa: E402
from lib.gateway import CLASS, Gateway, ingress, make_certificate, read_answer, route, service, tls_secret  # noqa: E402
from lib.websocket import Cut, EchoServer, Malformed  # noqa: E402

SOCKETS = size(1000, 50)
SWAPS = size(3600, 60)
SPACING = 0.05


def table(g):
    return [route('swap', ['swap.example'], [{'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': f'{g}'}}]}])]


def disturbed(sockets):
    """Those that were closed, or to which something came."""
    poll = select.poll()
    for s in sockets:
        poll.register(s.sock, select.POLLIN | select.POLLHUP)
    return len(poll.poll(0))


def all_echo(sockets, words):
    good = 0
    for s in sockets:
        try:
            good += echoes(s, words)[0]
        except (OSError, Cut, Malformed):
            pass
    return good


def main():
    drill = Drill('websockets', f'{SOCKETS} idle WebSockets over {SWAPS} tables: 0 closed, at most 4 tables mapped')
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    with EchoServer(patience=24 * 3600) as echo, Gateway([CLASS] + service('echo', [echo.port]), https=True, workers=2, config='sslRedirect: false\n') as gw:
        pair = make_certificate(gw.work, 'echo.example')
        gw.write('echo.json', [tls_secret('echo', *pair), ingress('echo', 'echo.example', 'echo', tls='echo')])
        gw.write('swap.json', table(0))
        gw.until(lambda: gw.get(host='swap.example')[2] == b'0' and gw.get(host='echo.example')[0] == 403, what='the first table')
        context = ssl.create_default_context(cafile=pair[0])
        sockets = [open_websocket(gw.https if i % 2 else gw.http, 'echo.example', context if i % 2 else None) for i in range(SOCKETS)]
        first = all_echo(sockets, b'before')
        workers, mapped, ended, seen = gw.pids('worker'), 0, 0, 0
        before, start = [resident_kib(p)['Anon'] for p in workers], time.monotonic()
        with gw.connect() as probe:
            for g in range(1, SWAPS + 1):
                gw.write('swap.json', table(g))
                time.sleep(max(0.0, start + g * SPACING - time.monotonic()))
                mapped = max(mapped, *map(tables_mapped, workers))
                probe.sendall(b'GET / HTTP/1.1\r\nHost: swap.example\r\n\r\n')
                seen += read_answer(probe)[2] == str(g).encode()
                if g % 20 == 0:
                    ended = max(ended, disturbed(sockets))
        gw.until(lambda: gw.get(host='swap.example')[2] == str(SWAPS).encode(), what='the last table')
        ended = max(ended, disturbed(sockets))
        last = all_echo(sockets, b'behind them all')
        drill.need(gw.pids('worker') == workers, 'workers were replaced')
        drill.need(0 < mapped <= 4, f'{mapped} tables mapped')
        drill.need(first == SOCKETS and last == SOCKETS and ended == 0, f'{first} echoed before, {last} behind, {ended} were closed or disturbed')
        drill.need(SHORT or seen > SWAPS / 2, f'{seen} of {SWAPS} tables were on the wire before the next')
        grown = [resident_kib(p)['Anon'] - b for p, b in zip(workers, before)]
        drill.need(max(grown) <= 5 * 1024, f'memory of the workers grew: {grown} KiB')
        drill.done(websockets=SOCKETS, over_tls=SOCKETS // 2, tables=SWAPS, on_the_wire_at_once=seen, mapped_at_most=mapped, closed=SOCKETS - last, workers_grew_KiB=grown)
        for s in sockets:
            s.close()


if __name__ == '__main__':
    main()
