#!/usr/bin/env python3
"""What a change costs with many objects: `sluice run` on a folder, from the rename of a file to the first answer by it on a kept connection, with the control
plane's own times beside it. Prints one line a figure, asserts nothing. hack/bench --changes [--ingresses N] [--rounds N]"""
import argparse
import json
import os
import re
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, Gateway, Origin, ingress, service  # noqa: E402

PATHS = ('/', '/api', '/static', '/health', '/admin')
STAGES = ('wait', 'translate', 'compile', 'publish', 'acknowledge')


def many(count, bad=()):
    """Ingresses of 5 paths, each with a Service and a slice of 3 endpoints: loopback addresses where nobody listens, so that nothing leaves the machine."""
    out = []
    for i in range(count):
        ns, name = f'ns{i % 100}', f'web-{i:05}'
        objects = service(name, [8080], ns=ns)
        objects[1]['endpoints'] = [{'addresses': [f'127.{k + 1}.{i // 250 % 250}.{i % 250 + 1}']} for k in range(3)]
        host = ingress(name, f'host-{i:05}.example.com', name, ns=ns)
        backend = host['spec']['rules'][0]['http']['paths'][0]['backend']
        host['spec']['rules'][0]['http']['paths'] = [{'path': p, 'pathType': 'Prefix', 'backend': backend} for p in PATHS]
        if i in bad:
            host['spec']['rules'][0]['http']['paths'][1]['path'] = 'no slash'
            host['spec']['rules'].append({'host': 'NOT A HOST'})
        out += objects + [host]
    return out


class Asker:
    """One kept connection; asks until the answer is the wanted one."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, host, path):
        self.socket.sendall(f'GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n'.encode())
        data = b''
        while b'\r\n\r\n' not in data:
            data += self.more()
        head, _, body = data.partition(b'\r\n\r\n')
        length = int(re.search(rb'content-length: *(\d+)', head, re.I)[1])
        while len(body) < length:
            body += self.more()
        return int(head.split()[1]), body

    def more(self):
        got = self.socket.recv(65536)
        if not got:
            raise ConnectionError('closed inside an answer')
        return got

    def until(self, host, path, check, seconds=120):
        end = time.monotonic() + seconds
        while not check(*self.ask(host, path)):
            if time.monotonic() > end:
                raise SystemExit(f'no answer of the new state for {host}{path}')


def figures(gw):
    """Per stage (count, sum of seconds), and states published."""
    text = gw.get('/metrics', host='admin', port=gw.ports['controlplane_admin'])[2].decode()
    out = {}
    for what in ('count', 'sum'):
        for stage, value in re.findall(r'sluice_controlplane_stage_duration_seconds_%s\{stage="(\w+)"\} ([0-9.e+-]+)' % what, text):
            out[stage, what] = float(value)
    out['states'] = float(re.search(r'^sluice_controlplane_states_published_total ([0-9.e+]+)$', text, re.M)[1])
    return out


def stages(before, after):
    parts = []
    for stage in STAGES:
        n = after[stage, 'count'] - before[stage, 'count']
        parts.append(f'{stage} {1e3 * (after[stage, "sum"] - before[stage, "sum"]) / max(n, 1):.2f}')
    return ', '.join(parts)


def report(name, samples, before, after):
    samples = sorted(1e3 * s for s in samples)
    print(f'{name}: median {statistics.median(samples):.1f} ms, min {samples[0]:.1f}, max {samples[-1]:.1f} ({len(samples)} rounds); mean ms of the control plane: {stages(before, after)}',
          flush=True)


def replace(folder, name, data):
    """Writes beside, then renames; returns when it renamed."""
    path = os.path.join(folder, name)
    with open(path + '.tmp~', 'w') as f:
        f.write(data)
    os.rename(path + '.tmp~', path)
    return time.monotonic()


def as_list(objects):
    return json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects})


def as_documents(objects):
    return ''.join('---\n' + json.dumps(o) + '\n' for o in objects)


def probe(path, port):
    return service('probe', [port], ns='probe') + [ingress('probe', 'probe.example.com', 'probe', path=path, ns='probe')]


def memory_mib(pids):
    total = {'Pss': 0.0, 'Rss': 0.0, 'Pss_Shmem': 0.0}
    for pid in pids:
        for line in open(f'/proc/{pid}/smaps_rollup'):
            key = line.split(':')[0]
            if key in total:
                total[key] += int(line.split()[1]) / 1024
    return total


def one_change(gw, origin, o):
    asker = Asker(gw.http)
    for name, make, path, check in (
            ('one Ingress changed', lambda i: probe(f'/v{i}', origin.ports[0]), lambda i: f'/v{i}', lambda i: lambda status, body: status == 200),
            ('one EndpointSlice changed', lambda i: probe('/s', origin.ports[i % 2]), lambda i: '/s',
             lambda i: lambda status, body: status == 200 and body.split()[0] == str(i % 2).encode())):
        replace(gw.folder, 'probe.json', as_list(make(-1 if 'Ingress' in name else 1)))
        asker.until('probe.example.com', path(-1 if 'Ingress' in name else 1), check(1))
        time.sleep(0.3)
        samples, before = [], figures(gw)
        for i in range(o.rounds):
            i += 0 if 'Ingress' in name else 2
            start = replace(gw.folder, 'probe.json', as_list(make(i)))
            asker.until('probe.example.com', path(i), check(i))
            samples.append(time.monotonic() - start)
            time.sleep(0.15)
        report(f'{o.ingresses} Ingresses, {name}, rename to answer', samples, before, figures(gw))


def one_file(origin, o):
    """All objects in one file, of which one is another: what reading and hashing the rest costs."""
    objects = many(o.ingresses)
    texts = [as_documents(objects + probe(f'/v{i}', origin.ports[0])) for i in range(2)]
    with Gateway([CLASS], args=['--controlplane-admin-port', '0']) as gw:
        start = replace(gw.folder, 'all.yaml', texts[0])
        asker = Asker(gw.http)
        asker.until('probe.example.com', '/v0', lambda status, body: status == 200, 60)
        print(f'{o.ingresses} Ingresses in one YAML file of {len(texts[0]) >> 20} MiB, rename to answer: {time.monotonic() - start:.2f} s', flush=True)
        samples, before = [], figures(gw)
        for i in range(1, 1 + min(o.rounds, 10)):
            time.sleep(0.3)
            start = replace(gw.folder, 'all.yaml', texts[i % 2])
            asker.until('probe.example.com', f'/v{i % 2}', lambda status, body: status == 200)
            samples.append(time.monotonic() - start)
        report(f'{o.ingresses} Ingresses in one file, one of them changed, rename to answer', samples, before, figures(gw))


def burst(gw, origin, o):
    """1,000 slices change within a second, one file each; the last change is the one that is asked for."""
    asker = Asker(gw.http)
    count = 1000
    ready = [service(f'web-{i:05}', [8080], ns=f'ns{i % 100}')[1] for i in range(count)]
    before = figures(gw)
    start = last = time.monotonic()
    for i, slice_ in enumerate(ready):
        slice_['endpoints'] = [{'addresses': [f'127.200.{i // 250}.{i % 250 + 1}']}]
        time.sleep(max(0, start + i / count - time.monotonic()))
        replace(gw.folder, f'a-slice-{i:05}.json', json.dumps(slice_))
    last = replace(gw.folder, 'probe.json', as_list(probe('/burst', origin.ports[0])))
    asker.until('probe.example.com', '/burst', lambda status, body: status == 200)
    after = figures(gw)
    print(f'burst of {count} EndpointSlices in {last - start:.2f} s: {after["states"] - before["states"]:.0f} states published; last change to answer {1e3 * (time.monotonic() - last):.1f} ms; '
          f'mean ms: {stages(before, after)}', flush=True)


def live(bad, rounds):
    """Seconds from 1,000 Ingresses' rename until the last of them is answered; the worst state of affairs a bad one can cause."""
    out = []
    for _ in range(rounds):
        with Gateway([CLASS]) as gw:
            asker = Asker(gw.http)
            hosts = [f'host-{i:05}.example.com' for i in range(1000) if i != 500]
            # 404 = no such host; anything else is the Ingress' own answer (its endpoints do not exist: 503).
            text = as_documents([o for o in many(1000, bad) if o['kind'] != 'EndpointSlice'])
            start = replace(gw.folder, 'all.yaml', text)
            for host in hosts:
                asker.until(host, '/api', lambda status, body: status != 404)
            out.append(time.monotonic() - start)
    return out


def one_bad(o):
    live((), 1)
    good, bad = [], []
    for _ in range(5):
        good += live((), 1)
        bad += live((500,), 1)
    g, b = statistics.median(good), statistics.median(bad)
    print(f'1,000 Ingresses, until the last of the 999 good ones answers: all good {1e3 * g:.0f} ms, one bad {1e3 * b:.0f} ms, ratio {b / g:.2f} (medians of 5, interleaved)', flush=True)


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--ingresses', type=int, default=10000)
    a.add_argument('--rounds', type=int, default=30)
    a.add_argument('--only', default='', help='of change, file, burst, bad; comma-separated')
    o = a.parse_args()
    print(f'load average {os.getloadavg()[0]:.1f}, kernel {os.uname().release}', flush=True)
    with Origin(2) as origin:
        only = set(o.only.split(',')) - {''} or {'change', 'file', 'burst', 'bad'}
        if only & {'change', 'burst'}:
            with Gateway(args=['--controlplane-admin-port', '0'], wait=False) as gw:
                objects, step = many(o.ingresses), 300
                for i in range(0, len(objects), step):
                    with open(os.path.join(gw.folder, f'many-{i // step:04}.json'), 'w') as f:
                        f.write(as_list(objects[i:i + step]))
                gw.write('class.json', [CLASS])
                gw.write('probe.json', probe('/', origin.ports[0]))
                gw.stop(keep_state=True)
                start = time.monotonic()
                gw.start()
                print(f'{o.ingresses} Ingresses in {len(objects) // step + 1} JSON files, start to serving: {time.monotonic() - start:.2f} s', flush=True)
                time.sleep(1)
                m = memory_mib(gw.pids('controlplane'))
                print(f'control plane: RSS {m["Rss"]:.0f} MiB, PSS {m["Pss"]:.0f}, of it memory files {m["Pss_Shmem"]:.0f}', flush=True)
                if 'change' in only:
                    one_change(gw, origin, o)
                if 'burst' in only:
                    burst(gw, origin, o)
                m = memory_mib(gw.pids('controlplane'))
                print(f'control plane afterwards: RSS {m["Rss"]:.0f} MiB, PSS {m["Pss"]:.0f}', flush=True)
        if 'file' in only:
            one_file(origin, o)
        if 'bad' in only:
            one_bad(o)


if __name__ == '__main__':
    main()
