#!/usr/bin/env python3
"""Peers side by side, loopback only, in interleaved windows (A B C A B C ...): the figure is the CPU time of all of a proxy's processes divided by the
origin's own count of finished requests, both sampled at the same two moments inside the load. The proxy has core 0, load and origin have core 1.
Samples go to report.py, which prints Markdown. A row with a failed request is void. Asserts nothing."""
import argparse
import json
import mmap
import os
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
import amplify  # noqa: E402
import peers as P  # noqa: E402
import protocols  # noqa: E402
import report  # noqa: E402
from lib.gateway import family  # noqa: E402

BASE_PORT = int(os.environ.get('BENCH_PORT', '21000'))


def compile_tools(out):
    for name, libs in (('backend', []), ('relay', []), ('../tools/openload', []), ('handshake', ['-lssl', '-lcrypto', '-lpthread']), ('certs', ['-lcrypto']),
                       ('h2_origin', ['-lnghttp2']), ('h2_load', ['-lnghttp2', '-lssl', '-lcrypto']), ('websocket', ['-lssl', '-lcrypto'])):
        subprocess.run(['gcc', '-O2', '-o', f'{out}/{os.path.basename(name)}', f'{HERE}/{name}.c'] + libs, check=True)


def make_cert(work):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '30', '-subj', f'/CN={P.HOST}',
                    '-addext', f'subjectAltName=DNS:{P.HOST}', '-keyout', f'{work}/key.pem', '-out', f'{work}/cert.pem'], check=True, capture_output=True)
    with open(f'{work}/both.pem', 'w') as f:
        f.write(open(f'{work}/cert.pem').read() + open(f'{work}/key.pem').read())


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


def upstream_connections(pids, port):
    """Established connections of these processes to the origin."""
    mine = set()
    for p in pids:
        try:
            mine |= {os.readlink(f'/proc/{p}/fd/{fd}') for fd in os.listdir(f'/proc/{p}/fd')}
        except OSError:
            pass
    fields = (line.split() for line in open('/proc/net/tcp').readlines()[1:])
    return sum(1 for f in fields if f[3] == '01' and int(f[2].split(':')[1], 16) == port and f'socket:[{f[9]}]' in mine)


class Rig:
    def __init__(self, names, workers=1, log=False, cpu='0', offset=0, origin=None, protocol=''):
        self.work = tempfile.mkdtemp(prefix='sluice-bench.')
        self.bin = f'{self.work}/bin'
        os.makedirs(self.bin)
        compile_tools(self.bin)
        make_cert(self.work)
        self.backend_port = BASE_PORT + offset
        self.protocol = protocol  # of peers.py
        with socket.socket() as probe:
            if probe.connect_ex(('127.0.0.1', self.backend_port)) == 0:
                sys.exit(f'port {self.backend_port} is in use: another run? (BENCH_PORT chooses another)')
        self.origins = [self.start_origin(origin or [f'{self.bin}/{"h2_origin" if protocol == "h2c" else "backend"}'], self.backend_port)]
        if protocol == 'h2':  # a relay's client speaks to it; only one of them is asked at a time, so they may share their counter
            self.origins.append(self.start_origin([f'{self.bin}/h2_origin'], self.backend_port + 1))
        self.peers = {}
        try:
            self.start_peers(names, workers, log, cpu, offset)
        except BaseException:
            self.close()
            raise

    def start_origin(self, command, port):
        return subprocess.Popen(['taskset', '-c', '1', *command, str(port), f'{self.work}/count'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start_peers(self, names, workers, log, cpu, offset):
        for i, spec in enumerate(names):
            name, _, variant = spec.partition('+')
            cls = P.ALL[name]
            env = dict(work=f'{self.work}/{spec}', http=BASE_PORT + offset + 10 + 2 * i, https=BASE_PORT + offset + 11 + 2 * i, protocol=self.protocol,
                       backend=self.backend_port + (self.protocol == 'h2' and not cls.tls), cert=f'{self.work}/cert.pem',
                       key=f'{self.work}/key.pem', pem=f'{self.work}/both.pem', workers=int(variant[1:]) if variant[:1] in ('w', 'e') else workers, log=log or variant == 'log', variant=variant, bin=self.bin)
            os.makedirs(env['work'])
            peer = cls(env)
            if not peer.available():
                print(f'left out: {spec} is not here', file=sys.stderr)
                continue
            peer.start(cpu)
            peer.cpu = cpu
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
            r = subprocess.run(['curl', '-s', '-o', '/dev/null', '-m', '2', '-w', '%{http_code} %{size_download}', '-H', f'Host: {P.HOST}', f'http://127.0.0.1:{peer.env["http"]}/128']
                               + (['--http2-prior-knowledge'] if self.protocol in ('h2', 'h2c') and not peer.tls else []), capture_output=True, text=True)
            if r.stdout == '200 128':
                return True
            time.sleep(0.1)
        return False

    def restart(self, peer):
        peer.stop()
        peer.start(peer.cpu)
        if not self.wait(peer):
            raise RuntimeError(f'{peer.name} does not answer after a new start; see {peer.env["work"]}/out.log')

    def count(self):
        return struct.unpack('<Q', self.count_map[:8])[0]

    def close(self):
        for p in self.peers.values():
            p.stop()
        for origin in self.origins:
            origin.terminate()
            origin.wait()
        shutil.rmtree(self.work, ignore_errors=True)

    # Each load returns (command, parser of failures) for a peer.
    def wrk(self, peer, path, connections, secs, tls=False, post=0, clients=0):
        """clients: so many values of a field X-Client, each request another one."""
        args = ['taskset', '-c', '1', 'wrk', '-t1', f'-c{connections}', f'-d{secs}s', '-H', f'Host: {P.HOST}']
        if post:
            script = f'{self.work}/post.lua'
            if not os.path.exists(script):
                open(script, 'w').write(f'wrk.method = "POST"\nwrk.body = string.rep("x", {post})\n')
            args += ['-s', script]
        if clients:
            script = f'{self.work}/clients.lua'
            if not os.path.exists(script):
                # Text is made before the load begins, so that it costs the load little; 7919 steps through them all.
                open(script, 'w').write(f'local n, i, t = {clients}, 0, {{}}\nfunction init() for k = 0, n - 1 do t[k] = wrk.format("GET", "{path}", {{["Host"] = "{P.HOST}", ["X-Client"] = "client-" .. k}}) end end\n'
                                        'function request() i = (i + 7919) % n return t[i] end\n')
            args += ['-s', script]
        return args + [f'{"https" if tls else "http"}://127.0.0.1:{peer.env["https" if tls else "http"]}{path}']

    def window(self, peer, command, secs):
        pids = family(peer.proc.pid)
        load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, stdin=subprocess.DEVNULL)
        time.sleep(0.25 * secs)
        c0, n0 = cpu_ns(pids), self.count()
        time.sleep(0.6 * secs)
        c1, n1 = cpu_ns(pids), self.count()
        held = upstream_connections(pids, peer.env['backend'])
        out = load.communicate()[0]
        return (c1 - c0) / 1000 / max(1, n1 - n0), failures(out), out, held


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
    'evenconn': ('New plain connection + GET, 8 clients, 4 workers on core 0: connections handed to who has fewest (connections.balance: even) against the kernel\'s choice',
                 lambda r, p, s: ['taskset', '-c', '1', f'{r.bin}/openload', 'new', str(p.env['http']), P.HOST, '/128', str(s), '8']),
    'tls': ('TLS 1.3 keep-alive GET 128 B, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s, tls=True)),
    'full': ('TLS 1.3 full handshake + GET', lambda r, p, s: ['taskset', '-c', '1', f'{r.bin}/handshake', 'full', str(p.env['https']), P.HOST, '/128', str(s), '8']),
    'resume': ('TLS 1.3 resumed handshake + GET', lambda r, p, s: ['taskset', '-c', '1', f'{r.bin}/handshake', 'resume', str(p.env['https']), P.HOST, '/128', str(s), '8']),
    # One binary against itself; their peers and cores are fixed.
    'hosts': ('The last of 10,000 hosts (5 paths each) against the only one: GET 128 B, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s)),
    'certs': ('One host of 10,000, each with a certificate, against the only one: TLS 1.3 full handshake + GET',
              lambda r, p, s: ['taskset', '-c', '1', f'{r.bin}/handshake', 'full', str(p.env['https']), P.HOST, '/128', str(s), '8']),
    'limit': ('Rate limit on, one key, against off: GET 128 B, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s)),
    'keys': ('Rate limit on, 100,000 live keys, against off: GET 128 B with the key in a field, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s, clients=100000)),
    'log': ('Access log on (JSON lines to a file) against off: GET 128 B, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s)),
    'workers': ('2 workers against 1, both on core 0: GET 128 B, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s)),
    'spread': ('2 workers against 1, both on both cores beside the load: GET 128 B, 64 connections', lambda r, p, s: r.wrk(p, '/128', 64, s)),
    **{name: (row.title, row.load) for name, row in protocols.ROWS.items()},
}
TLS_ROWS = ('tls', 'full', 'resume')
FIXED = {'hosts': (['sluice', 'sluice+h10000'], '0'), 'certs': (['sluice', 'sluice+c10000'], '0'), 'limit': (['sluice', 'sluice+limit'], '0'), 'keys': (['sluice', 'sluice+keys'], '0'),
         'log': (['sluice', 'sluice+log'], '0'), 'workers': (['sluice', 'sluice+w2'], '0'), 'spread': (['sluice', 'sluice+w2'], ''), 'evenconn': (['sluice+w4', 'sluice+e4'], '0'), 'amplification': (['nginx', 'sluice'], '0'), **{name: (names, '0') for name, names in protocols.PEERS.items()}}


def turn(names, i):
    """Each round begins with another one."""
    return names[i % len(names):] + names[:i % len(names)]


def cpu_row(rig, row, rounds, secs):
    """One sample a round and proxy: CPU us/request, failures, upstream connections held."""
    _, load = ROWS[row]
    names = [n for n, p in rig.peers.items() if p.tls or row not in TLS_ROWS]
    samples = []
    for i in range(rounds):
        one = {}
        for n in turn(names, i):
            value, failed, out, held = rig.window(rig.peers[n], load(rig, rig.peers[n], secs), secs)
            one[n] = {'us': value, 'failed': failed, 'upstream': held}
            if out.strip().startswith('{'):
                one[n]['terms'] = json.loads(out.strip().split('\n')[-1]).get('terms', '')
        samples.append(one)
    return samples


def peak(rig):
    """40 % of nginx's peak here and now."""
    out = subprocess.run(rig.wrk(rig.peers['nginx'], '/128', 64, 2), capture_output=True, text=True).stdout
    return int(0.4 * float([l for l in out.split('\n') if 'Requests/sec' in l][0].split()[1]))


def latency_row(rig, rounds, secs, rate):
    samples = []
    for i in range(rounds):
        one = {}
        for n in turn(list(rig.peers), i):
            out = subprocess.run(['taskset', '-c', '1', f'{rig.bin}/openload', 'rate', str(rig.peers[n].env['http']), P.HOST, '/128', str(rate), str(secs), '64'],
                                 capture_output=True, text=True).stdout
            one[n] = json.loads(out)
        samples.append(one)
    return samples


def memory_row(rig, count=1000):
    one = {}
    for n, p in rig.peers.items():
        cells = {}
        for tls in (False, True):
            if tls and not p.tls:
                continue
            tool = [f'{rig.bin}/handshake', 'idle', str(p.env['https'])] if tls else [f'{rig.bin}/openload', 'idle', str(p.env['http'])]
            base = pss_kib(family(p.proc.pid))
            cells.setdefault('idle', base / 1024)
            held = subprocess.Popen(tool + [P.HOST, '/128', str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            held.stdout.readline()
            time.sleep(1.2)   # buffers that are given back after a while are
            cells['tls' if tls else 'plain'] = (pss_kib(family(p.proc.pid)) - base) / count
            held.stdin.close()
            held.wait()
            time.sleep(0.3)
        one[n] = cells
    return [one]


def amplification_row(rig):
    one = {}
    for n, p in rig.peers.items():
        pids = family(p.proc.pid)
        one[n] = amplify.measure(p.env['http'], f'{rig.work}/count', lambda: cpu_ns(pids), lambda: pss_kib(pids))
    return [one]


def syscall_row(rig, secs=2):
    one = {}
    for n, p in rig.peers.items():
        pids = family(p.proc.pid)
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
        one[n] = {k: v / max(1, n1 - n0) for k, v in calls.items()}
    return [one]


def main():
    sys.stdout.reconfigure(line_buffering=True)
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--peers', default='relay,nginx,haproxy,h2o,nghttpx,envoy,sluice', help='NAME, NAME+log (access log on), NAME+w2 (2 workers), +e2 (of which each has as many connections), NAME+h10000 (other hosts), +c10000 (with certificates), +limit, +keys')
    a.add_argument('--rows', default='get128,get16k,post16k,get1m,newconn,tls,full,resume,latency,memory,syscalls,log,workers,spread,evenconn,hosts,certs,limit,keys,amplification,'
                   + ','.join(protocols.PEERS))
    a.add_argument('--rounds', type=int, default=3)
    a.add_argument('--secs', type=int, default=2)
    a.add_argument('--rate', type=int, default=0, help='of the latency row; default: 40 %% of nginx\'s peak, or what the file of --json has')
    a.add_argument('--cpu', default='0', help='cores of the proxies; empty = not pinned')
    a.add_argument('--json', help='add the samples to this file')
    a.add_argument('--report', help='print the tables of this file; measures nothing')
    o = a.parse_args()
    if o.report:
        return report.show(json.load(open(o.report)), ROWS)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (20000 if hard == resource.RLIM_INFINITY else min(20000, hard), hard))  # 1,000 connections, both sides of each
    data = {'meta': {}, 'rows': {}}
    if o.json and os.path.exists(o.json):
        data = json.load(open(o.json))
    meta = data['meta']
    meta.setdefault('started', f'{time.strftime("%Y-%m-%d")}, {os.uname().release}')
    meta.setdefault('load', []).append(round(os.getloadavg()[0], 1))
    rows = o.rows.split(',')
    for names, cpu, own in [(o.peers.split(','), o.cpu, [r for r in rows if r not in FIXED])] + [(*FIXED[r], [r]) for r in rows if r in FIXED]:
        if not own:
            continue
        rig = Rig(names, cpu=cpu, origin=[sys.executable, f'{HERE}/amplify.py'] if own == ['amplification'] else None, protocol=protocols.PROTOCOL.get(own[0], ''))
        try:
            meta.setdefault('versions', {}).update({n: p.version() for n, p in rig.peers.items()})
            for row in own:
                print(time.strftime('%H:%M:%S'), row, file=sys.stderr)
                if row == 'latency':
                    meta['rate'] = o.rate or meta.get('rate') or peak(rig)
                    got = latency_row(rig, o.rounds, o.secs, meta['rate'])
                elif row == 'memory':
                    got = memory_row(rig)
                elif row == 'syscalls':
                    got = syscall_row(rig)
                elif row == 'amplification':
                    got = amplification_row(rig)
                elif row in protocols.HELD:
                    got = protocols.held_row(rig, row)
                elif row == protocols.SPREAD:
                    got = protocols.spread_row(rig, o.rounds, o.secs, cpu_ns)
                else:
                    got = cpu_row(rig, row, o.rounds, o.secs)
                data['rows'].setdefault(row, []).extend(got)
        finally:
            rig.close()
        if o.json:
            with open(o.json + '.new', 'w') as f:
                json.dump(data, f)
            os.replace(o.json + '.new', o.json)
    if not o.json:
        report.show(data, ROWS)


if __name__ == '__main__':
    main()
