#!/usr/bin/env python3
"""User instructions and system calls per request, this build against another one of the same project: counts repeat where times do not. A worker runs
under callgrind (instructions) or strace (system calls); one client asks one request after the other; the figure is the difference between many
requests and few, so start and end cancel. Prints a table with ratios, asserts nothing.
hack/bench --instructions [--against BIN]      BIN: the folder of the other build's programs"""
import argparse
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
import lib.gateway as gateway  # noqa: E402
from lib.gateway import CLASS, Gateway, ingress, service  # noqa: E402

HOST = 'bench.example'


def get(path, body=None):
    def ask(connection):
        connection.request('POST' if body else 'GET', path, body=body, headers={'Host': HOST})
        answer = connection.getresponse()
        if answer.status != 200:
            raise SystemExit(f'{path}: {answer.status}')
        answer.read()
    return ask


class Client:
    """One way of asking: plain or TLS, kept or new connections, sessions resumed or not."""

    def __init__(self, gw, tls=False, kept=True, resume=False):
        self.gw, self.tls, self.kept, self.resume, self.session = gw, tls, kept, resume, None
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.connection = None

    def connect(self):
        c = http.client.HTTPConnection('127.0.0.1', self.gw.https if self.tls else self.gw.http, timeout=60)
        c.sock = socket.create_connection(('127.0.0.1', c.port), timeout=60)
        c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            c.sock = self.context.wrap_socket(c.sock, server_hostname=HOST, session=self.session if self.resume else None)
        return c

    def run(self, ask, count):
        for _ in range(count):
            if self.connection is None:
                self.connection = self.connect()
            ask(self.connection)
            if not self.kept:
                if self.tls:
                    self.session = self.connection.sock.session
                self.connection.close()
                self.connection = None


ROWS = {
    'GET 128 B, keep-alive': (get('/128'), {}, 2000),
    'GET 16 KiB': (get('/16384'), {}, 1000),
    'POST 16 KiB': (get('/128', b'x' * 16384), {}, 1000),
    'GET 1 MiB': (get('/1048576'), {}, 100),
    'new plain connection + GET': (get('/128'), {'kept': False}, 1000),
    'TLS 1.3 keep-alive GET 128 B': (get('/128'), {'tls': True}, 1000),
    'TLS 1.3 full handshake + GET': (get('/128'), {'tls': True, 'kept': False}, 100),
    'TLS 1.3 resumed + GET': (get('/128'), {'tls': True, 'kept': False, 'resume': True}, 100),
}


TOOLS = {'callgrind': ('user instructions', 'valgrind --quiet --tool=callgrind --callgrind-out-file={out}'),
         'strace': ('system calls', 'strace -D -qq -o {out}')}  # -D: the worker keeps the pid that its master knows


def counted(tool, out):
    with open(out, errors='replace') as f:
        text = f.read()
    if tool == 'callgrind':
        return int(re.search(r'^(?:summary|totals): (\d+)', text, re.M).group(1))
    return len(re.findall(r'^\w+\(', text, re.M))


def count(tool, row, requests, origin_port, work):
    ask, how, _ = ROWS[row]
    out = os.path.join(work, 'out')
    os.environ.update(LD_PRELOAD=os.path.join(work, 'worker_under.so'), WORKER_UNDER=TOOLS[tool][1].format(out=out))
    try:
        objects = [CLASS, ingress('bench', HOST, 'bench')] + service('bench', [origin_port])
        # Time goes by slowly in there: nothing may be closed for it.
        with Gateway(objects, https=True, config='timeouts: {keepAlive: 600s}\n') as gw:
            gw.until(lambda: gw.get('/128', host=HOST)[0] == 200, 60, 'it serves')
            client = Client(gw, **how)
            client.run(ask, 20 + requests)
            if client.connection is not None:
                client.connection.close()
            gw.end()
            return counted(tool, out)
    finally:
        del os.environ['LD_PRELOAD'], os.environ['WORKER_UNDER']


def per_request(tool, row, origin_port, work):
    many = ROWS[row][2]
    return (count(tool, row, many, origin_port, work) - count(tool, row, 0, origin_port, work)) / many


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--against', help="the other build's bin folder")
    a.add_argument('--rows', default=','.join(ROWS), help='names or beginnings of them')
    a.add_argument('--tools', default='callgrind,strace')
    o = a.parse_args()
    rows = [r for r in ROWS if any(r.startswith(want) for want in o.rows.split(','))]
    builds = [('this build', gateway.BIN)] + ([('the other', o.against)] if o.against else [])
    with tempfile.TemporaryDirectory(prefix='sluice-bench.') as work:
        subprocess.run(['gcc', '-O2', '-o', f'{work}/backend', f'{HERE}/backend.c'], check=True)
        subprocess.run(['gcc', '-O2', '-shared', '-fPIC', '-o', f'{work}/worker_under.so', f'{HERE}/worker_under.c', '-ldl'], check=True)
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            port = s.getsockname()[1]
        origin = subprocess.Popen([f'{work}/backend', str(port), f'{work}/count'], stdout=subprocess.DEVNULL)
        try:
            for tool, (what, _) in TOOLS.items():
                if tool not in o.tools.split(','):
                    continue
                print(f'\n| {what} per request | ' + ' | '.join(name for name, _ in builds) + ' | ratio |\n|---|' + '---|' * (len(builds) + 1), flush=True)
                for row in rows:
                    figures = []
                    for _, path in builds:
                        gateway.BIN = path
                        figures.append(per_request(tool, row, port, work))
                    ratio = f'{figures[0] / figures[1]:.3f}' if len(figures) == 2 and figures[1] else '-'
                    print(f'| {row} | ' + ' | '.join(f'{f:,.0f}' if f > 100 else f'{f:.2f}' for f in figures) + f' | {ratio} |', flush=True)
        finally:
            origin.kill()
            origin.wait()


if __name__ == '__main__':
    main()
