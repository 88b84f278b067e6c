#!/usr/bin/env python3
"""From the write to the API server (a real one) until the first answer by it, on a connection that is kept, with many Ingresses there. --ingresses N, --rounds N."""
import argparse
import http.client
import json
import os
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from bench.changes import Asker  # noqa: E402
from cluster import node  # noqa: E402
from drills.drill import SHORT, Drill, quantile, size  # noqa: E402
from drills.planes import ADDRESS, COLLECTIONS, KUBE, Planes, inside  # noqa: E402
from lib.gateway import CLASS, ROOT, Origin, ingress, service, slurp  # noqa: E402

PORT = 6443


class Api:
    """One kept connection to the API server."""

    def __init__(self, state):
        self.connection = http.client.HTTPSConnection(ADDRESS, PORT, context=ssl.create_default_context(cafile=os.path.join(state, 'ca.crt')), timeout=30)
        self.headers = {'Authorization': f'Bearer {slurp(os.path.join(state, "admin.token")).strip()}'}

    def call(self, method, path, body, kind='application/json'):
        self.connection.request(method, path, json.dumps(body), {**self.headers, 'Content-Type': kind})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f'{method} {path}: {answer.status} {text[:300]!r}')

    def create(self, one):
        path, ns = COLLECTIONS[one['kind']], one['metadata'].get('namespace')
        if ns:
            head, _, tail = path.rpartition('/')
            path = f'{head}/namespaces/{ns}/{tail}'
        self.call('POST', path, one)


def create_all(state, objects, threads=6):
    def some(part):
        api = Api(state)
        for one in objects[part::threads]:
            api.create(one)
    workers = [threading.Thread(target=some, args=(i,), daemon=True) for i in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()


def up(state, controllers=False):
    subprocess.run([KUBE, 'up', state], check=True, env=dict(os.environ, KUBE_ADDR=ADDRESS, KUBE_PORT=str(PORT), KUBE_CONTROLLERS='1' if controllers else '0'))
    kubectl = [os.path.join(state, 'kubectl'), '--kubeconfig', os.path.join(state, 'admin.kubeconfig')]
    subprocess.run([*kubectl, 'apply', '--server-side', '-f', os.path.join(ROOT, 'crds')], check=True, capture_output=True)
    node.crds_established(kubectl, *node.OWN_CRDS)


def measure(planes, state, rounds):
    """Seconds of each change: from the beginning of the write, and from its answer."""
    api, asker, out, rng = Api(state), Asker(planes.ports['http']), [], random.Random(7)
    path = COLLECTIONS['Ingress'].rpartition('/')[0] + '/namespaces/default/ingresses/probe'
    for i in range(rounds + 3):
        body = ingress('probe', 'probe.example', 'web', path=f'/v{i}')
        start = time.monotonic()
        api.call('PATCH', path, {'spec': body['spec']}, 'application/merge-patch+json')
        written = time.monotonic()
        asker.until('probe.example', f'/v{i}', lambda status, _: status == 200)
        end = time.monotonic()
        out.append((end - start, max(0.0, end - written)))
        time.sleep(0.05 + 0.2 * rng.random())
    return out[3:]


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--short', action='store_true')
    a.add_argument('--ingresses', type=int, default=size(10000, 200))
    a.add_argument('--rounds', type=int, default=size(300, 20))
    o = a.parse_args()
    bound = 0.2 if o.ingresses > 1000 else 0.1
    drill = Drill('propagation', f'{o.rounds} changes among {o.ingresses} Ingresses on a real API server: p99 {1e3 * bound:.0f} ms from the write to the answer')
    work = tempfile.mkdtemp(prefix='sluice-drill.')
    state = os.path.join(work, 'kube')
    up(state)
    try:
        with Origin(1, ADDRESS) as origin:
            begin = time.monotonic()
            create_all(state, [CLASS])
            create_all(state, service('web', origin.ports, address=ADDRESS) + [ingress('probe', 'probe.example', 'web')] + [ingress(f'i{i}', f'h{i}.example', 'web') for i in range(o.ingresses)])
            created = time.monotonic() - begin
            begin = time.monotonic()
            planes = Planes(os.path.join(state, 'admin.kubeconfig'))
            try:
                planes.read_ports()
                planes.until(lambda: planes.get(host=f'h{o.ingresses - 1}.example')[0] == 200, 60, 'the first state answers')
                first = time.monotonic() - begin
                time.sleep(size(10, 2))  # what the first state makes to be written (status) is done
                samples = measure(planes, state, o.rounds)
            finally:
                planes.stop()
                shutil.rmtree(planes.work, ignore_errors=True)
        ms = lambda q, which: round(1e3 * quantile([s[which] for s in samples], q), 1)
        drill.need(SHORT or ms(0.99, 0) <= 1e3 * bound, f'p99 {ms(0.99, 0)} ms')
        drill.done(ingresses=o.ingresses, changes=len(samples), p50_ms=ms(0.5, 0), p90_ms=ms(0.9, 0), p99_ms=ms(0.99, 0), max_ms=ms(1, 0), p50_ms_after_the_api_answered=ms(0.5, 1),
                   p99_ms_after_the_api_answered=ms(0.99, 1), created_s=round(created, 1), first_state_s=round(first, 2))
    finally:
        subprocess.run([KUBE, 'down', state], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    inside(__file__)
    main()
