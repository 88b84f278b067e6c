#!/usr/bin/env python3
"""Half an hour of everything at once: plain and TLS clients that keep their connections (HTTP/1.1, HTTP/2, WebSockets, gRPC calls and streams), new handshakes, a limited path, a
change each second (route, header and endpoint together; now and then a certificate). Nothing fails, no answer mixes two states, no WebSocket and no stream is closed, memory
and descriptors stay. Open loop, no retries, bodies checked.
--seconds N, --rate N, --changes N (a second)."""
import argparse
import os
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import SHORT, Drill, descriptors, resident_kib, size  # noqa: E402
from drills.protocols import GrpcEcho, KeptGrpc, KeptH2, KeptWebSocket, protocol  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, Load, Origin, ingress, make_certificate, read_answer, route, service, tls_secret  # noqa: E402
from lib.websocket import EchoServer  # noqa: E402


def generation(g, ports):
    """As in tests/proxy/swap_test.py: what the origin and the client see of one generation belongs together."""
    name, header = f'svc-{g % len(ports)}', {'set': [{'name': 'x-generation', 'value': str(g)}]}
    return service(name, [ports[g % len(ports)]]) + [route('swap', ['a.example'], [{
        'matches': [{'path': {'type': 'PathPrefix', 'value': '/'}}],
        'filters': [{'type': 'RequestHeaderModifier', 'requestHeaderModifier': header}, {'type': 'ResponseHeaderModifier', 'responseHeaderModifier': header}],
        'backendRefs': [{'name': name, 'port': 80}]}])]


def policy():
    return {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'few', 'namespace': 'default'}, 'spec': {
        'targetRefs': [{'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'limited'}], 'limits': [{'name': 'all', 'requests': 10, 'per': '1s', 'burst': 10}]}}


class Client(threading.Thread):
    """Asks at a constant pace on one connection, or on a new one each time; a late answer delays none of the later ones' due times."""

    def __init__(self, port, host, rate, wanted, context=None, fresh=False):
        super().__init__(daemon=True)
        self.port, self.host, self.rate, self.wanted, self.context, self.fresh = port, host, rate, wanted, context, fresh
        self.failed, self.answers, self.closes, self.go = [], {}, 0, True

    def dial(self):
        s = socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(s, server_hostname=self.host) if self.context else s

    def run(self):
        start, sent, s = time.monotonic(), 0, None
        while self.go:
            time.sleep(max(0.0, start + sent / self.rate - time.monotonic()))
            sent += 1
            try:
                s = s or self.dial()
                s.sendall(f'GET / HTTP/1.1\r\nHost: {self.host}\r\n\r\n'.encode())
                status, headers, body = read_answer(s)
                self.answers[status] = self.answers.get(status, 0) + 1
                good = status in self.wanted and (status != 200 or body.endswith(b' 1 0\n'))
                if not good:
                    self.failed.append((status, body[:60]))
                if headers.get('connection') == 'close' and not self.fresh:
                    self.closes += 1
                    s = self.end(s)
            except OSError as e:
                self.failed.append(repr(e))
                s = self.end(s)
            if self.fresh and s:
                s = self.end(s)

    @staticmethod
    def end(s):
        if s:
            s.close()


def of_one_generation(stream):
    """What openload asks of the same answers."""
    words = stream.body.split()
    if stream.status != 200 or len(words) != 3:
        return False
    index, count, generation = map(int, words)
    return stream.all(b'x-generation') == [b'%d' % generation] and generation % count == index


def mixed_clients(gw, context):
    """HTTP/2, WebSockets and gRPC, plain and over TLS."""
    from_web = lambda stream: stream.status == 200 and stream.body.endswith(b' 1 0\n')
    return [KeptH2(gw.http, 'a.example', 0.1, streams=4, good=of_one_generation), KeptH2(gw.https, 'tls.example', 0.1, True, streams=4, good=from_web),
            KeptWebSocket(gw.http, 'echo.example', 0.1), KeptWebSocket(gw.https, 'echo-tls.example', 0.1, context), KeptGrpc(gw.http, 'grpc.example', 0.1), KeptGrpc(gw.https, 'grpc-tls.example', 0.1, True)]


def slope(samples):
    """Growth over the samples by a line through them (least squares), in their unit."""
    n = len(samples)
    t, v = [s[0] for s in samples], [s[1] for s in samples]
    mt, mv = sum(t) / n, sum(v) / n
    bottom = sum((x - mt) ** 2 for x in t)
    return sum((x - mt) * (y - mv) for x, y in zip(t, v)) / bottom * (t[-1] - t[0]) if bottom else 0.0


def measure(gw):
    """{process: {kind of memory: KiB, 'descriptors': N}}"""
    out = {}
    for role in ('controlplane', 'master', 'agent', 'worker'):
        for i, pid in enumerate(sorted(gw.pids(role))):
            out[f'{role}{i or ""}'] = {**resident_kib(pid), 'descriptors': descriptors(pid)}
    return out


def growth(samples):
    """{process: {what: growth by a line through the samples}}, of what grew or shrank at all."""
    last = samples[-1][1]
    return {name: {what: round(slope([(t, all_[name][what]) for t, all_ in samples if name in all_]), 1) for what in of} for name, of in last.items()}


def run(gw, drill, origins, o, secrets):
    context = ssl.create_default_context(cafile=os.path.join(gw.work, 'both.pem'))
    mixed = mixed_clients(gw, context)
    load = Load('swap', gw.http, 'a.example', '/', o.rate, o.seconds, 24)
    clients = [Client(gw.https, 'tls.example', 25, (200,), context), Client(gw.https, 'tls.example', 5, (200,), context, True), Client(gw.http, 'limited.example', 20, (200, 429))]
    start, samples, g = time.monotonic(), [], 2
    for c in clients + mixed:
        c.start()
    settled = min(300, o.seconds / 3)
    try:
        while (now := time.monotonic() - start) < o.seconds:
            gw.write('swap.json', generation(g, origins.ports))
            if g % 30 == 0:
                gw.write('secret.json', [secrets[g // 30 % 2]])
            if g % 10 == 0:
                gw.metrics()
                if now >= settled:
                    samples.append((now, measure(gw)))
            g += 1
            time.sleep(max(0.0, start + (g - 2) / o.changes - time.monotonic()))
        result = load.result()
    finally:
        load.stop()
        for c in clients + mixed:
            c.go = False
    for c in clients + mixed:
        c.join()
    asked_for = time.monotonic() - start
    samples = samples or [(asked_for, measure(gw))]
    tls, fresh, limited = clients
    drill.need(result['failed'] == 0 and result['mixed'] == 0, f'keep-alive: {result}')
    drill.need(SHORT or result['issued'] > 0.95 * o.rate * o.seconds, f'the load client did not keep its rate: {result}')
    drill.need(result['generations'] > (1 if SHORT else 0.9 * o.seconds * o.changes), f'changes seen on the wire: {result}')
    for c in clients:
        drill.need(not c.failed, f'{c.host}: {len(c.failed)} failed, the first {c.failed[:3]}')
    for c in mixed:
        drill.need(not c.failed and c.answered, f'{type(c).__name__} {c.host}: {c.answered} answered, {len(c.failed)} failed, the first {c.failed[:3]}')
    again = sum(c.goaways + c.beyond_goaway + c.refused_streams for c in mixed if isinstance(c, KeptH2))
    drill.need(not again, f'{again} GOAWAY or REFUSED_STREAM, and no worker ended')
    # Two tokens for each answer refused: half of what is asked is admitted, to the burst and a second.
    admitted = limited.answers.get(200, 0)
    drill.need(admitted <= 10 + 10.1 * asked_for, f'limited to 10/s: {limited.answers} in {asked_for:.1f} s')
    drill.need(SHORT or admitted >= 10 * o.seconds - 30 - 0.01 * 10 * o.seconds, f'limited to 10/s: {limited.answers} in {o.seconds} s')
    grown = growth(samples)
    total = lambda *whats: round(sum(of[w] for of in grown.values() for w in whats))
    resident = [sum(of[w] for of in all_.values() for w in ('Anon', 'File', 'Shmem')) / 1024 for _, all_ in samples]
    fds = [sum(of['descriptors'] for of in all_.values()) for _, all_ in samples]
    drill.need(total('Anon', 'File', 'Shmem') <= 5 * 1024, f'resident memory grows: {grown}')
    drill.need(abs(total('descriptors')) <= 4 + max(fds) * 0.02, f'descriptors: {grown}')
    drill.need('sluice_worker_restarts_total 0' in gw.metrics(), 'a worker was replaced')
    count = lambda kind, what: sum(getattr(c, what) for c in mixed if isinstance(c, kind))
    return {'requests': result['requests'] + sum(sum(c.answers.values()) for c in clients) + count(KeptH2, 'answered') + count(KeptGrpc, 'unary'),
            'failed': result['failed'] + sum(len(c.failed) for c in clients + mixed), 'changes': g - 2, 'h2_requests': count(KeptH2, 'answered'),
            'websocket_messages': count(KeptWebSocket, 'answered'), 'grpc_unary': count(KeptGrpc, 'unary'), 'grpc_stream_messages': count(KeptGrpc, 'messages'),
            'generations_seen': result['generations'], 'p50_us': result['p50'], 'p99_us': result['p99'], 'p999_us': result['p999'], 'tls_requests': sum(tls.answers.values()),
            'handshakes': sum(fresh.answers.values()), 'limited': limited.answers, 'grown_KiB': {w: total(w) for w in ('Anon', 'File', 'Shmem')}, 'descriptors_grown': total('descriptors'),
            'grown_by_process': grown, 'resident_MiB': [round(min(resident), 1), round(max(resident), 1)], 'descriptors': [min(fds), max(fds)]}


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--short', action='store_true')
    a.add_argument('--seconds', type=float, default=size(1800, 12))
    a.add_argument('--changes', type=float, default=1, help='a second')
    a.add_argument('--rate', type=float, default=size(400, 300))
    o = a.parse_args()
    drill = Drill('soak', f'{o.seconds:.0f} s at {o.rate:.0f} requests/s, HTTP/2, WebSockets, gRPC and TLS, limits; a change each second')
    with Origin(8) as origins, Origin(1) as single, EchoServer() as echo, GrpcEcho() as grpc, Gateway([CLASS] + service('web', single.ports), https=True, workers=2) as gw:
        pairs, names = [], 'tls.example,DNS:echo-tls.example,DNS:grpc-tls.example'
        for name in 'one', 'two':
            os.mkdir(os.path.join(gw.work, name))
            pairs.append(make_certificate(os.path.join(gw.work, name), names))
        with open(os.path.join(gw.work, 'both.pem'), 'w') as f:
            f.write(''.join(open(cert).read() for cert, _ in pairs))
        secrets = [tls_secret('tls', *pair) for pair in pairs]
        gw.write('secret.json', [secrets[0]])
        gw.write('protocols.json', service('echo', [echo.port]) + protocol(service('grpc', [grpc.port]), 'kubernetes.io/h2c') + [
            ingress(f'{name}{tls}', f'{name}{tls}.example', name, tls='tls' if tls else None) for name in ('echo', 'grpc') for tls in ('', '-tls')])
        gw.write('ingress.json', [ingress('tls', 'tls.example', 'web', tls='tls'), ingress('limited', 'limited.example', 'web'), policy()])
        gw.write('swap.json', generation(1, origins.ports))
        gw.until(lambda: gw.get('/')[0] == 200 and gw.get('/', host='tls.example')[0] == 308 and (gw.get('/', host='echo.example')[0], gw.get('/', host='grpc.example')[0]) == (403, 200),
                 what='the first state answers')
        time.sleep(2)  # the limit's burst is whole again
        seen = run(gw, drill, origins, o, secrets)
        drill.need(not grpc.errors, f'the gRPC origin: {grpc.errors[:3]}')
        drill.done(**seen)


if __name__ == '__main__':
    main()
