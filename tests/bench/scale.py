#!/usr/bin/env python3
"""What many hosts cost to hold and to start, and what table changes cost those who ask meanwhile. Prints one line a figure, asserts nothing.
hack/bench --scale [--ingresses N] [--rounds N] [--only memory,restart,certs,load]"""
import argparse
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from changes import as_list, many, memory_mib, probe, replace  # noqa: E402
from lib.gateway import BIN, CLASS, TOOLS, Gateway, Origin, family  # noqa: E402
from report import median_interval  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def compiled(name, libraries=()):
    path = os.path.join(tempfile.mkdtemp(prefix='sluice-bench.'), name)
    subprocess.run(['gcc', '-O2', '-o', path, f'{HERE}/{name}.c', *libraries], check=True)
    return path


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def fill(gw, objects, prefix='many', step=300):
    for i in range(0, len(objects), step):
        with open(os.path.join(gw.folder, f'{prefix}-{i // step:04}.json'), 'w') as f:
            f.write(as_list(objects[i:i + step]))


def answers(port, host):
    """The status of one request, None if nobody listens or answers yet."""
    try:
        c = http.client.HTTPConnection('127.0.0.1', port, timeout=5)
        c.request('GET', '/', headers={'Host': host})
        return c.getresponse().status
    except OSError:
        return None
    finally:
        c.close()


def sizes(what, gw):
    c = memory_mib(gw.pids('controlplane'))
    d = memory_mib(p for role in ('master', 'agent', 'worker') for p in gw.pids(role))
    print(f'{what}: PSS of the control plane {c["Pss"]:.0f} MiB (of it memory files {c["Pss_Shmem"]:.0f}), of the data plane {d["Pss"]:.0f} MiB (of it memory files {d["Pss_Shmem"]:.0f})', flush=True)


def restarts(what, state, port, host, rounds):
    """The data plane alone, from its state folder: exec to the first answer, no control plane there."""
    samples = []
    for _ in range(rounds):
        start = time.monotonic()
        proc = subprocess.Popen([os.path.join(BIN, 'sluice-dataplane'), '--socket', os.path.join(state, 'nobody.sock'), '--state', os.path.join(state, 'last-good'), '--workers', '1', '--log-level', 'error'],
                                stdin=subprocess.DEVNULL)
        status = None
        while status is None and time.monotonic() < start + 30:
            status = answers(port, host)
            time.sleep(0 if status else 0.001)
        samples.append(1e3 * (time.monotonic() - start))
        if status == 404 or status is None:
            raise SystemExit(f'{what}: {host} is answered {status} after the restart')
        if len(samples) == rounds:
            time.sleep(1.5)
            m = memory_mib(family(proc.pid))
            print(f'{what}: PSS of the data plane afterwards {m["Pss"]:.0f} MiB', flush=True)
        proc.terminate()
        proc.wait(40)
    m, low, high = median_interval(samples)
    print(f'{what}, data plane alone from its last good state, exec to first answer: median {m:.0f} ms ({min(samples):.0f} to {max(samples):.0f}; {rounds} rounds)', flush=True)


def held(o, only):
    """Memory at rest, and the way back from disk."""
    port = free_port()
    with Gateway(http=False, args=['--http-port', str(port)], wait=False) as gw:
        fill(gw, [CLASS] + many(o.ingresses))
        gw.stop(keep_state=True)
        gw.start()
        time.sleep(3)
        last = f'host-{o.ingresses - 1:05}.example.com'
        if answers(port, last) in (404, None):
            raise SystemExit(f'{last} is not answered by its route')
        if 'memory' in only:
            sizes(f'{o.ingresses} Ingresses of 5 paths, at rest', gw)
        gw.end()
        if 'restart' in only:
            restarts(f'{o.ingresses} hosts', gw.state, port, last, min(o.rounds, 10))


def certificates(o):
    """The same with a certificate for each host."""
    tool = compiled('certs', ['-lcrypto'])
    port, tls = free_port(), free_port()
    objects = [i for i in many(o.ingresses) if i['kind'] == 'Ingress']
    for i, ingress in enumerate(objects):
        ingress['metadata']['namespace'] = 'many'
        ingress['spec']['tls'] = [{'hosts': [f'host-{i:05}.example.com'], 'secretName': f'cert-{i:05}'}]
    services = [s for s in many(o.ingresses) if s['kind'] != 'Ingress']
    for s in services:
        s['metadata']['namespace'] = 'many'
    last = f'host-{o.ingresses - 1:05}.example.com'
    with Gateway(http=False, args=['--http-port', str(port), '--https-port', str(tls)], wait=False) as gw:
        with open(os.path.join(gw.folder, 'certs.json'), 'w') as f:
            subprocess.run([tool, str(o.ingresses), 'host-%05d.example.com', 'many'], stdout=f, check=True)
        fill(gw, [CLASS] + objects + services)
        gw.stop(keep_state=True)
        start = time.monotonic()
        gw.start()
        print(f'{o.ingresses} hosts with a certificate each, folder, start to serving: {time.monotonic() - start:.2f} s', flush=True)
        time.sleep(3)
        sizes(f'{o.ingresses} hosts with a certificate each, at rest', gw)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        for i in range(o.ingresses):  # contexts are built when a name is first asked for
            with socket.create_connection(('127.0.0.1', tls), timeout=5) as s, context.wrap_socket(s, server_hostname=f'host-{i:05}.example.com'):
                pass
        sizes(f'{o.ingresses} hosts with a certificate each, after a handshake with each', gw)
        gw.end()
        restarts(f'{o.ingresses} hosts with a certificate each', gw.state, port, last, min(o.rounds, 10))
    shutil.rmtree(os.path.dirname(tool))


def under_changes(o):
    """20 table changes a second at 2,000 requests a second, against none: rounds of each, one after the other, the order turning. A third kind writes the same
    files where nobody watches: what the writer alone costs those who ask, on the same cores."""
    with Origin(1) as origin, Gateway(args=['--controlplane-admin-port', '0'], wait=False) as gw:
        fill(gw, [CLASS] + many(o.ingresses))
        replace(gw.folder, 'asked.json', as_list(probe('/6', origin.ports[0])))
        gw.stop(keep_state=True)
        gw.start()
        time.sleep(2)
        tool = os.path.join(TOOLS, 'openload')
        ends = threading.Event()
        changes = [0]

        elsewhere = tempfile.mkdtemp(prefix='sluice-bench.')

        def change(folder):
            due = time.monotonic()
            while not ends.is_set():
                objects = probe(f'/v{changes[0]}', origin.ports[0])
                for x in objects:
                    x['metadata']['name'] = x['metadata']['name'].replace('probe', 'moving')
                objects[-1]['spec']['rules'][0]['host'] = 'moving.example.com'
                replace(folder, 'moving.json', as_list(objects))
                changes[0] += 1
                due += 0.05
                time.sleep(max(0, due - time.monotonic()))

        samples, failed, states = {'still': [], 'changing': [], 'writing': []}, 0, 0
        kinds = list(samples)
        for i in range(o.rounds):
            kinds.append(kinds.pop(0))
            for kind in kinds:
                thread = None
                before = published(gw)
                if kind != 'still':
                    ends.clear()
                    thread = threading.Thread(target=change, args=[gw.folder if kind == 'changing' else elsewhere])
                    thread.start()
                out = json.loads(subprocess.run([tool, 'rate', str(gw.http), 'probe.example.com', '/6', '2000', str(o.secs), '50'], capture_output=True, text=True, check=True).stdout)
                if thread:
                    ends.set()
                    thread.join()
                    states += published(gw) - before
                failed += out['failed']
                samples[kind].append(out)
        seconds = o.secs * o.rounds
        print(f'{o.ingresses} Ingresses, 2,000 requests/s on 50 kept connections, {changes[0] / seconds / 2:.1f} changes a second ({states / seconds:.1f} tables a second): {failed} failed or reconnected, {o.rounds} paired rounds of {o.secs} s', flush=True)
        for q in ('p50', 'p99', 'p999'):
            m = {k: median_interval([s[q] for s in v])[0] for k, v in samples.items()}
            ratios = {k: median_interval([a[q] / b[q] for a, b in zip(samples['changing'], samples[k])]) for k in ('still', 'writing')}
            text = {k: f'{m[k]:.0f} us, paired ratio {r:.2f} ({low:.2f}-{high:.2f})' for k, (r, low, high) in ratios.items()}
            print(f'  {q}: {m["changing"]:.0f} us with changes; without: {text["still"]}; the files written where nobody watches: {text["writing"]}', flush=True)
        shutil.rmtree(elsewhere)


def published(gw):
    text = gw.get('/metrics', host='admin', port=gw.ports['controlplane_admin'])[2].decode()
    return next(float(line.split()[1]) for line in text.split('\n') if line.startswith('sluice_controlplane_states_published_total '))


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--ingresses', type=int, default=10000)
    a.add_argument('--rounds', type=int, default=20)
    a.add_argument('--secs', type=int, default=3, help='of each round under load')
    a.add_argument('--only', default='memory,restart,certs,load')
    o = a.parse_args()
    only = set(o.only.split(','))
    print(f'load average {os.getloadavg()[0]:.1f}, kernel {os.uname().release}', flush=True)
    if only & {'memory', 'restart'}:
        held(o, only)
    if 'certs' in only:
        certificates(o)
    if 'load' in only:
        under_changes(o)


if __name__ == '__main__':
    main()
