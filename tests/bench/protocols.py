"""The rows of HTTP/2, gRPC and WebSockets. Loads: h2_load.c, websocket.c; origins: backend.c, h2_origin.c. A relay passes on what it cannot read, so where
the proxies change the protocol it stands between a client and an origin that speak the client's, in the clear."""
import os
import statistics
import subprocess
import time

import peers as P
from lib.gateway import accepted, family, slurp


class Row:
    """protocol: of the rig (peers.py); goal: (the most that sluice may be of the best peer, in words who that is); unit: what the origin counts."""

    def __init__(self, title, protocol, names, load, goal, unit='request'):
        self.title, self.protocol, self.names, self.load, self.goal, self.unit = title, protocol, names, load, goal, unit


def on_core(rig, program, *args):
    return ['taskset', '-c', '1', f'{rig.bin}/{program}', *map(str, args)]


def get_h2(rig, peer, secs):
    """16 connections of 10 streams; the relay's in the clear."""
    mode = 'tls' if peer.tls else 'get'
    return on_core(rig, 'h2_load', mode, peer.env['https' if peer.tls else 'http'], P.HOST, '/128', secs, 16, 10)


def unary(rig, peer, secs):
    return on_core(rig, 'h2_load', 'unary', peer.env['http'], P.HOST, '/bench.Echo/Unary', secs, 16, 10, 128)


def stream(rig, peer, secs):
    return on_core(rig, 'h2_load', 'stream', peer.env['http'], P.HOST, '/bench.Echo/Stream', secs, 16, 10, 1024)


def websocket(rig, peer, secs):
    return on_core(rig, 'websocket', 'load', peer.env['http'], P.HOST, secs, 64, 128)


ROWS = {
    'h2': Row('HTTP/2 over TLS to HTTP/1.1: GET 128 B, 16 connections x 10 streams', 'h2', 'relay,haproxy,h2o,nghttpx,sluice', get_h2, (0.95, 'the best of HAProxy, h2o and nghttpx')),
    'h2h2c': Row('HTTP/2 over TLS to HTTP/2 in the clear: GET 128 B, 16 connections x 10 streams', 'h2c', 'relay,haproxy,envoy,sluice', get_h2, (0.90, 'the better of HAProxy and Envoy')),
    'grpc': Row('gRPC unary, HTTP/2 in the clear on both sides, messages of 128 B, 16 connections x 10 streams', 'h2c', 'relay,envoy,sluice', unary, (0.35, 'Envoy')),
    'grpcstream': Row('gRPC streams, HTTP/2 in the clear on both sides, messages of 1 KiB to and fro, 16 connections x 10 streams', 'h2c', 'relay,envoy,sluice', stream, (0.50, 'Envoy'), 'message'),
    'websocket': Row('WebSocket, messages of 128 B to and fro, 64 connections', 'ws', 'relay,nginx,sluice', websocket, (0.85, 'nginx'), 'message'),
}
MEMORY = {  # title, protocol of the rig, program, mode, port, most KiB of a connection's own memory
    'websocket': ('idle WebSocket', 'ws', 'websocket', 'idle', 'http', 2),
    'websocket-tls': ('idle WebSocket over TLS', 'ws', 'websocket', 'tls-idle', 'https', 18),
    'h2-tls': ('idle HTTP/2 connection over TLS', 'h2', 'h2_load', 'tls-idle', 'https', 24),
    'h2': ('idle HTTP/2 connection in the clear', 'h2', 'h2_load', 'idle', 'http', None),
}
# The rows that are not of CPU time: of `held` one for each protocol, for a rig has one.
HELD = {'heldws': 'ws', 'heldh2': 'h2'}
SPREAD = 'h2spread'
PEERS = {**{name: row.names.split(',') for name, row in ROWS.items()}, 'heldws': ['nginx', 'haproxy', 'envoy', 'sluice'], 'heldh2': ['nginx', 'haproxy', 'h2o', 'nghttpx', 'envoy', 'sluice'], SPREAD: ['sluice+w4', 'sluice+e4']}
PROTOCOL = {**{name: row.protocol for name, row in ROWS.items()}, **HELD, SPREAD: 'h2'}


def speaks(case, peer):
    """nginx and h2o read HTTP/2 in the clear only where they speak nothing else there."""
    return (peer.tls or MEMORY[case][4] == 'http') and not (case == 'h2' and peer.name in ('nginx', 'h2o'))


def own_kib(pids):
    """Their own memory: what is neither a file's nor shared."""
    return sum(int(line.split()[1]) for pid in pids for line in slurp(f'/proc/{pid}/status').splitlines() if line.startswith('RssAnon'))


def hold(rig, case, peer, count):
    """COUNT connections that have asked once and stay; the process to be let go, and whether each was served."""
    _, _, program, mode, port, _ = MEMORY[case]
    args = [rig.bin + '/' + program, mode, str(peer.env[port]), P.HOST] + (['/128'] if program == 'h2_load' else []) + [str(count)]
    held = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    good = '"failed":0' in held.stdout.readline()
    time.sleep(1.2)  # buffers that are given back after a while are
    return held, good


def held_row(rig, row, count=1000):
    """What COUNT idle connections add to the own memory of a proxy's processes, KiB each, when 100 are there; a new start for each kind, since what was freed is used again."""
    one = {}
    for name, peer in rig.peers.items():
        cells = {}
        for case, (_, protocol, *_) in MEMORY.items():
            if protocol != HELD[row] or not speaks(case, peer):
                continue
            rig.restart(peer)
            first, good = hold(rig, case, peer, 100)
            base = own_kib(family(peer.proc.pid))
            held, all_good = hold(rig, case, peer, count)
            cells[case] = (own_kib(family(peer.proc.pid)) - base) / count if good and all_good else None
            for each in (first, held):
                each.stdin.close()
                each.wait()
        one[name] = cells
    return [one]


def spread_row(rig, rounds, secs, cpu_ns):
    """8 connections that stay, on 4 workers: how many each has, and what CPU time each uses."""
    samples = []
    for _ in range(rounds):
        one = {}
        for name, peer in rig.peers.items():
            workers = [pid for pid in family(peer.proc.pid) if 'sluice-dataplane: worker' in slurp(f'/proc/{pid}/cmdline').replace('\0', ' ')]
            load = subprocess.Popen(on_core(rig, 'h2_load', 'tls', peer.env['https'], P.HOST, '/128', secs, 8, 10), stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
            time.sleep(0.25 * secs)
            before, held = [cpu_ns([pid]) for pid in workers], [accepted(pid, peer.env['https']) for pid in workers]
            time.sleep(0.6 * secs)
            used = [cpu_ns([pid]) - b for pid, b in zip(workers, before)]
            out = load.communicate()[0]
            mean = max(1, sum(used) / len(used))
            one[name] = {'connections': held, 'cpu': [u / mean for u in used], 'failed': 0 if '"failed":0' in out else 1}
        samples.append(one)
    return samples


def held_table(row, samples):
    cases = [case for case, what in MEMORY.items() if what[1] == HELD[row]]
    goal = lambda case: f' (goal <= {MEMORY[case][5]})' if MEMORY[case][5] else ''
    print('\n### Own memory of an idle connection, KiB (1,000 held; RssAnon of all processes)\n')
    print('| proxy | ' + ' | '.join(f'{MEMORY[case][0]}{goal(case)}' for case in cases) + ' |\n|---|' + '---|' * len(cases))
    for name in dict.fromkeys(n for s in samples for n in s):
        got = {case: [s[name][case] for s in samples if case in s.get(name, {})] for case in cases}
        cell = lambda of: '-' if not of else 'void' if None in of else f'{statistics.median(of):.2f}'
        print(f'| {name} | ' + ' | '.join(cell(got[case]) for case in cases) + ' |')


def spread_table(samples):
    print(f'\n### 8 HTTP/2 connections that stay, on 4 workers; {len(samples)} rounds. Goal: the busiest <= 1.5 x the mean\n')
    print('| proxy | busiest / mean, CPU time: median (min-max) | busiest / mean, connections: median (min-max) | connections of each worker, by round | failed |\n|---|---|---|---|---|')
    spread = lambda values: f'{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})'
    for name in dict.fromkeys(n for s in samples for n in s):
        mine = [s[name] for s in samples if name in s]
        by_count = [max(m['connections']) * len(m['connections']) / max(1, sum(m['connections'])) for m in mine]
        print(f'| {name} | {spread([max(m["cpu"]) for m in mine])} | {spread(by_count)} | {"; ".join("+".join(map(str, sorted(m["connections"], reverse=True))) for m in mine)} | {sum(m["failed"] for m in mine)} |')
