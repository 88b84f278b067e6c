#!/usr/bin/env python3
"""Peers side by side, loopback only, in interleaved windows (A B C A B C ...): the figure is the CPU time of all of a proxy's processes divided by the
origin's own count of finished requests, both sampled at the same two moments inside the load. The proxy has core 0, load and origin have core 1.
Prints Markdown: medians, ranges, ratios to the relay and to the best peer. A row with a failed request is void. Asserts nothing."""
import argparse
import json
import mmap
import os
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import peers as P

HERE = os.path.dirname(os.path.abspath(__file__))
BASE_PORT = int(os.environ.get('BENCH_PORT', '21000'))


def compile_tools(out):
    for name, libs in (('backend', []), ('relay', []), ('../tools/openload', []), ('handshake', ['-lssl', '-lcrypto', '-lpthread'])):
        subprocess.run(['gcc', '-O2', '-o', f'{out}/{os.path.basename(name)}', f'{HERE}/{name}.c'] + libs, check=True)


def make_cert(work):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', f'/CN={P.HOST}',
                    '-addext', f'subjectAltName=DNS:{P.HOST}', '-keyout', f'{work}/key.pem', '-out', f'{work}/cert.pem'], check=True, capture_output=True)
    with open(f'{work}/both.pem', 'w') as f:
        f.write(open(f'{work}/cert.pem').read() + open(f'{work}/key.pem').read())


def tree(pid):
    """pid and everything below it."""
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        try:
            for t in os.listdir(f'/proc/{p}/task'):
                todo += [int(c) for c in open(f'/proc/{p}/task/{t}/children').read().split()]
        except OSError:
            pass
    return out


def cpu_ns(pids):
    total = 0
    for p in pids:
        try:
            for t in os.listdir(f'/proc/{p}/task'):
                total += int(open(f'/proc/{p}/task/{t}/schedstat').read().split()[0])
        except OSError:
            pass
    return total


def pss_kib(pids):
    total = 0
    for p in pids:
        try:
            for line in open(f'/proc/{p}/smaps_rollup'):
                if line.startswith('Pss:'):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


class Rig:
    def __init__(self, names, workers=1, log=False, cpu='0', offset=0):
        self.work = tempfile.mkdtemp(prefix='sluice-bench.')
        self.bin = f'{self.work}/bin'
        os.makedirs(self.bin)
        compile_tools(self.bin)
        make_cert(self.work)
        self.backend_port = BASE_PORT + offset
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', self.backend_port)) == 0:
                sys.exit(f'port {self.backend_port} is in use: another run? (BENCH_PORT chooses another)')
        self.backend = subprocess.Popen(['taskset', '-c', '1', f'{self.bin}/backend', str(self.backend_port), f'{self.work}/count'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.peers = {}
        try:
            self.start_peers(names, workers, log, cpu, offset)
        except BaseException:
            self.close()
            raise

    def start_peers(self, names, workers, log, cpu, offset):
        for i, spec in enumerate(names):
            name, _, variant = spec.partition('+')
            cls = P.ALL[name]
            env = dict(work=f'{self.work}/{spec}', http=BASE_PORT + offset + 10 + 2 * i, https=BASE_PORT + offset + 11 + 2 * i, backend=self.backend_port, cert=f'{self.work}/cert.pem',
                       key=f'{self.work}/key.pem', pem=f'{self.work}/both.pem', workers=int(variant[1:]) if variant[:1] == 'w' else workers, log=log or variant == 'log', bin=self.bin)
            os.makedirs(env['work'])
            peer = cls(env)
            if not peer.available():
                print(f'left out: {spec} is not here', file=sys.stderr)
                continue
            peer.start(cpu)
            self.peers[spec] = peer
        time.sleep(0.3)
        with open(f'{self.work}/count', 'r+b') as f:
            self.count_map = mmap.mmap(f.fileno(), 4096)
        for spec in list(self.peers):
            if not self.wait(self.peers[spec]):
                print(f'left out: {spec} does not answer; see {self.peers[spec].env["work"]}/out.log', file=sys.stderr)
                self.peers.pop(spec).stop()

    def wait(self, peer):
        for _ in range(100):
            r = subprocess.run(['curl', '-s', '-o', '/dev/null', '-m', '2', '-w', '%{http_code} %{size_download}', '-H', f'Host: {P.HOST}', f'http://127.0.0.1:{peer.env["http"]}/128'],
                               capture_output=True, text=True)
            if r.stdout == '200 128':
                return True
            time.sleep(0.1)
        return False

    def count(self):
        return struct.unpack('<Q', self.count_map[:8])[0]

    def close(self):
        for p in self.peers.values():
            p.stop()
        self.backend.terminate()
        self.backend.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    # Each load returns (command, parser of failures) for a peer.
    def wrk(self, peer, path, connections, secs, tls=False, post=0):
        args = ['taskset', '-c', '1', 'wrk', '-t1', f'-c{connections}', f'-d{secs}s', '-H', f'Host: {P.HOST}']
        if post:
            script = f'{self.work}/post.lua'
            if not os.path.exists(script):
                open(script, 'w').write(f'wrk.method = "POST"\nwrk.body = string.rep("x", {post})\n')
            args += ['-s', script]
        return args + [f'{"https" if tls else "http"}://127.0.0.1:{peer.env["https" if tls else "http"]}{path}']

    def window(self, peer, command, secs):
        pids = tree(peer.proc.pid)
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        time.sleep(0.25 * secs)
        c0, n0 = cpu_ns(pids), self.count()
        time.sleep(0.6 * secs)
        c1, n1 = cpu_ns(pids), self.count()
        out = load.communicate()[0]
        return (c1 - c0) / 1000 / max(1, n1 - n0), failures(out), out


def failures(out):
    out = out.strip()
    if out.startswith('{'):
        return json.loads(out.split('\n')[-1])['failed']
    bad = 0
    for line in out.split('\n'):
        if 'Non-2xx' in line:
            bad += int(line.split()[-1])
        if 'Socket errors' in line:
            bad += sum(int(x) for x in ''.join(ch if ch.isdigit() else ' ' for ch in line).split())
    return bad


ROWS = {
    'get128': ('GET 128 B, keep-alive, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s)),
    'get16k': ('GET 16 KiB, 64 connections', lambda r, p, s: r.wrk(p, '/16384', 64, s)),
    'post16k': ('POST 16 KiB, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s, post=16384)),
    'get1m': ('GET 1 MiB, 16 connections', lambda r, p, s: r.wrk(p, '/1048576', 16, s)),
    'newconn': ('new plain connection + GET, 8 clients', lambda r, p, s: ['taskset', '-c', '1', f'{r.bin}/openload', 'new', str(p.env['http']), P.HOST, '/128', str(s), '8']),
    'tls': ('TLS 1.3 keep-alive GET 128 B, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s, tls=True)),
    'full': ('TLS 1.3 full handshake + GET', lambda r, p, s: ['taskset', '-c', '1', f'{r.bin}/handshake', 'full', str(p.env['https']), P.HOST, '/128', str(s), '8']),
    'resume': ('TLS 1.3 resumed handshake + GET', lambda r, p, s: ['taskset', '-c', '1', f'{r.bin}/handshake', 'resume', str(p.env['https']), P.HOST, '/128', str(s), '8']),
}


def cpu_row(rig, row, rounds, secs):
    title, load = ROWS[row]
    names = [n for n, p in rig.peers.items() if p.tls or row not in ('tls', 'full', 'resume')]
    got, bad, terms = {n: [] for n in names}, {n: 0 for n in names}, {}
    for i in range(rounds):
        for n in names[i % len(names):] + names[:i % len(names)]:
            value, failed, out = rig.window(rig.peers[n], load(rig, rig.peers[n], secs), secs)
            got[n].append(value)
            bad[n] += failed
            if out.strip().startswith('{'):
                terms[n] = json.loads(out.strip().split('\n')[-1]).get('terms', '')
    med = {n: statistics.median(v) for n, v in got.items()}
    rivals = [med[n] for n in names if n.split('+')[0] not in ('sluice', 'relay')]
    print(f'\n### {title}\n\n| proxy | CPU us/request | min-max | x relay | x best peer | failed | terms |\n|---|---|---|---|---|---|---|')
    for n in names:
        relay = f'{med[n] / med["relay"]:.2f}' if 'relay' in med else '-'
        best = f'{med[n] / min(rivals):.2f}' if rivals else '-'
        print(f'| {n} | {med[n]:.2f} | {min(got[n]):.2f}-{max(got[n]):.2f} | {relay} | {best} | {bad[n]} | {terms.get(n, "")} |')
    sys.stdout.flush()
    return {'row': row, 'median': med, 'failed': bad, 'samples': got}


def latency_row(rig, rounds, secs, rate):
    names = list(rig.peers)
    if not rate:   # 40 % of nginx's peak here and now
        out = subprocess.run(rig.wrk(rig.peers['nginx'], '/128', 64, 2), capture_output=True, text=True).stdout
        rate = 0.4 * float([l for l in out.split('\n') if 'Requests/sec' in l][0].split()[1])
    got = {n: [] for n in names}
    for i in range(rounds):
        for n in names[i % len(names):] + names[:i % len(names)]:
            out = subprocess.run(['taskset', '-c', '1', f'{rig.bin}/openload', 'rate', str(rig.peers[n].env['http']), P.HOST, '/128', str(int(rate)), str(secs), '64'],
                                 capture_output=True, text=True).stdout
            got[n].append(json.loads(out))
    print(f'\n### Latency at {int(rate)} requests/s (40 % of nginx\'s peak), us from the scheduled time; median of {rounds} rounds\n\n| proxy | p50 | p90 | p99 | p99.9 | failed |\n|---|---|---|---|---|---|')
    for n in names:
        m = lambda k: statistics.median(x[k] for x in got[n])
        print(f'| {n} | {m("p50"):.0f} | {m("p90"):.0f} | {m("p99"):.0f} | {m("p999"):.0f} | {sum(x["failed"] for x in got[n])} |')
    sys.stdout.flush()
    return {'row': 'latency', 'rate': rate, 'samples': got}


def memory_row(rig, count=1000):
    print(f'\n### Memory per idle keep-alive connection ({count} held; PSS of all processes)\n\n| proxy | idle PSS MiB | plain KiB | TLS KiB |\n|---|---|---|---|')
    rows = {}
    for n, p in rig.peers.items():
        cells = []
        base0 = None
        for tls in (False, True):
            if tls and not p.tls:
                cells.append('-')
                continue
            tool = [f'{rig.bin}/handshake', 'idle', str(p.env['https'])] if tls else [f'{rig.bin}/openload', 'idle', str(p.env['http'])]
            base = pss_kib(tree(p.proc.pid))
            base0 = base0 if base0 is not None else base
            held = subprocess.Popen(tool + [P.HOST, '/128', str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            held.stdout.readline()
            time.sleep(0.7)
            cells.append(f'{(pss_kib(tree(p.proc.pid)) - base) / count:.2f}')
            held.stdin.close()
            held.wait()
            time.sleep(0.3)
        rows[n] = cells
        print(f'| {n} | {base0 / 1024:.1f} | {cells[0]} | {cells[1]} |')
    sys.stdout.flush()
    return {'row': 'memory', 'cells': rows}


def syscall_row(rig, secs=2):
    print('\n### System calls per GET 128 B, 32 connections (all processes)\n\n| proxy | per request | of them |\n|---|---|---|')
    for n, p in rig.peers.items():
        pids = tree(p.proc.pid)
        load = subprocess.Popen(rig.wrk(p, '/128', 32, secs + 2), stdout=subprocess.DEVNULL)
        time.sleep(0.7)
        out = f'{rig.work}/strace.{n}'
        n0 = rig.count()
        subprocess.run(['timeout', '-s', 'INT', str(secs), 'strace', '-f', '-c', '-o', out] + [x for pid in pids for x in ('-p', str(pid))], capture_output=True)
        n1 = rig.count()
        load.wait()
        calls = {}
        for line in open(out):
            f = line.split()
            if len(f) >= 5 and f[0].replace('.', '').isdigit() and f[-1] != 'total':
                calls[f[-1]] = int(f[3])
        top = ', '.join(f'{k} {v / max(1, n1 - n0):.2f}' for k, v in sorted(calls.items(), key=lambda x: -x[1])[:6])
        print(f'| {n} | {sum(calls.values()) / max(1, n1 - n0):.2f} | {top} |')
    sys.stdout.flush()


def main():
    sys.stdout.reconfigure(line_buffering=True)
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--peers', default='relay,nginx,haproxy,h2o,nghttpx,envoy,sluice', help='NAME, NAME+log (access log on), NAME+w2 (2 workers)')
    a.add_argument('--rows', default='get128,get16k,post16k,get1m,newconn,tls,full,resume,latency,memory,syscalls')
    a.add_argument('--rounds', type=int, default=3)
    a.add_argument('--secs', type=float, default=2)
    a.add_argument('--rate', type=float, default=0)
    a.add_argument('--cpu', default='0', help='cores of the proxies; empty = not pinned')
    a.add_argument('--out', help='JSON of all samples')
    o = a.parse_args()
    rig = Rig(o.peers.split(','), cpu=o.cpu)
    results = []
    try:
        print(f'{time.strftime("%Y-%m-%d")}, {os.uname().release}, load average {os.getloadavg()[0]:.1f}\n')
        for n, p in rig.peers.items():
            print(f'- {n}: {p.version()}')
        for row in o.rows.split(','):
            if row in ROWS:
                results.append(cpu_row(rig, row, o.rounds, int(max(1, o.secs))))
            elif row == 'latency':
                results.append(latency_row(rig, o.rounds, int(max(1, o.secs)), o.rate))
            elif row == 'memory':
                results.append(memory_row(rig))
            elif row == 'syscalls':
                syscall_row(rig)
    finally:
        rig.close()
    if o.out:
        json.dump(results, open(o.out, 'w'))


if __name__ == '__main__':
    main()
