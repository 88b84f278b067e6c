#!/usr/bin/env python3
"""Twice as much as one worker can do, in a control group of 256 MiB and a part of a CPU, so that the load on the other CPU can offer it: whoever is not served hears 503 with Retry-After, nothing is
lost, no process ends, and afterwards all are served again. How much is served, how soon the others hear and what memory it takes is printed, not asserted: it is a matter of what a refusal costs
beside what is served, so the same is done with small, middle and large answers, and once with three priorities."""
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import unittest
from contextlib import ExitStack

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import Drill, size  # noqa: E402
from lib.control_group import control_group, inside, most_used  # noqa: E402
from lib.gateway import CLASS, TOOLS, Gateway, Load, ingress, route, service, slurp  # noqa: E402

LIMIT = 256 * 1024 * 1024
CPU = 0.2  # of one
PEAK_SECONDS, SECONDS, SKIP = size((5, 20, 3), (2, 5, 2))
SIZES = size((128, 65536, 1048576), (128, 65536))
CONNECTIONS = size(2000, 1000)
PRIORITIES = {'critical': 0.2, 'standard': 0.3, 'sheddable': 1.5}  # of the peak
CPUS = sorted(os.sched_getaffinity(0))
GATEWAY_SIDE, LOAD_SIDE = (('taskset', '-c', str(CPUS[0])), ('taskset', '-c', str(CPUS[1]))) if len(CPUS) > 1 else ((), ())


class Backend:
    """tests/bench/backend.c: GET /N answers N bytes."""

    def __init__(self):
        self.counter = tempfile.NamedTemporaryFile(prefix='sluice-test.')
        with socket.create_server(('127.0.0.1', 0)) as s:
            self.port = s.getsockname()[1]
        self.proc = subprocess.Popen([*LOAD_SIDE, os.path.join(TOOLS, 'backend'), str(self.port), self.counter.name])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.counter.close()


def busy(gw, drill, host, path):
    """Requests a second of 64 clients that ask again as soon as they are answered."""
    result = Load('busy', gw.http, host, path, 0, PEAK_SECONDS, 64, wrap=LOAD_SIDE).result()
    drill.need(result['failed'] == 0 and result['requests'] > 0, f'{host}{path}: {result}')
    return result['requests'] / result['seconds']


def over(gw, drill, peak, path, parts):
    """Open loops at once, one for each (host, part of the peak). What they saw, by host."""
    loads = {host: Load('over', gw.http, host, path, int(peak * part), SECONDS, max(16, int(CONNECTIONS * part / sum(parts.values()))), skip=SKIP, wrap=LOAD_SIDE) for host, part in parts.items()}
    seen = {}
    for host, load in loads.items():
        r = load.result()
        # Each request got an answer, and each refusal was 503 with Retry-After.
        drill.need(r['failed'] == 0 and r['bare'] == 0, f'{host}{path}: {r}')
        # Parts of the peak; milliseconds (median, p99, most) of those that were answered after the first seconds.
        seen[host.split('.')[0]] = {
            'refused_in_all': r['refused'],
            'offered': round(r['issued'] / SECONDS / peak, 2), 'served': round(r['served_rate'] / peak, 2), 'refused': round(r['refused_rate'] / peak, 2),
            'refused_ms': [round(r[f'refused_{q}'] / 1000, 1) for q in ('p50', 'p99', 'most')] if r['refused_rate'] else [], 'served_ms': [round(r[q] / 1000, 1) for q in ('p50', 'p99')]}
    return seen


def main():
    drill = Drill('overload', 'twice the peak of one worker within 256 MiB, queueDelay 20 ms: alive, every refusal 503 with Retry-After, nothing lost, served again afterwards; served >= 90 % of the peak, refused p99 <= 50 ms')
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    notes = []
    with ExitStack() as stack:
        for limits in ({'memory': LIMIT, 'cpu': CPU}, {'memory': LIMIT}, {}):
            try:
                folders = stack.enter_context(control_group(**limits))
                break
            except unittest.SkipTest as e:
                notes.append(str(e))
        backend = stack.enter_context(Backend())
        objects = [CLASS] + service('web', [backend.port]) + [ingress('plain', 'plain.example', 'web')]
        objects += [ingress(p, f'{p}.example', 'web', annotations={'sluice.dev/priority': p}) for p in PRIORITIES]
        # An answer of the gateway's own costs what a refusal costs.
        objects.append(route('own', ['own.example'], [{'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': 'x' * 128}}]}]))
        gw = stack.enter_context(Gateway(objects, config='timeouts: {queueDelay: 20ms}\n', wrap=inside(folders, *GATEWAY_SIDE)))
        gw.until(lambda: {gw.get('/128', host=f'{h}.example')[0] for h in ('plain', 'own', *PRIORITIES)} == {200}, what='all are served')
        pids = gw.pids()
        own = busy(gw, drill, 'own.example', '/128')
        seen, refused = {}, 0
        for number in SIZES:
            path = f'/{number}'
            peak = busy(gw, drill, 'plain.example', path)
            cost = peak / own
            row = {'peak_per_s': round(peak), 'a_refusal_costs': round(cost, 2), 'could_serve': round(max(0.0, (1 - 2 * cost) / (1 - cost)), 2)}
            row |= over(gw, drill, peak, path, {'plain.example': 2.0})
            if number == SIZES[-1]:
                row['by_priority'] = over(gw, drill, peak, path, {f'{p}.example': part for p, part in PRIORITIES.items()})
            refused += row['plain']['refused_in_all']
            gw.until(lambda: 'sluice_overload_level{resource="delay"} 0\n' in gw.metrics(), what='it is over')
            drill.need(busy(gw, drill, 'plain.example', path) > 0, 'not served again')
            seen[number] = row
        if refused == 0:  # that refusals are made is asked by tests/proxy/overload_test.py
            notes.append('the load could not offer more than the gateway took: nothing was refused')
        drill.need(gw.pids() == pids, 'a process ended')
        most = max(int(re.search(r'^VmHWM:\s+(\d+) kB', slurp(f'/proc/{p}/status'), re.M)[1]) for p in gw.pids('worker'))
        drill.need(most * 1024 < LIMIT, f'{most} KiB resident')
        used = most_used(folders)
        drill.done(**{f'{n}_bytes': row for n, row in seen.items()}, worker_most_MiB=most >> 10, group_most_MiB=used and used >> 20, limits=limits, notes=notes, cpus=len(CPUS))


if __name__ == '__main__':
    main()
