#!/usr/bin/env python3
"""A Deployment of real backends is rolled ten times under load on a real API server: EndpointSlices say which Pods end, nothing new goes to them, what runs there ends well.
Open loop, no retries, bodies checked: nothing fails."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from cluster import node  # noqa: E402
from drills.drill import Drill, size  # noqa: E402
from drills.planes import Planes, inside  # noqa: E402
from drills.propagation import KUBE, up  # noqa: E402
from lib.gateway import CLASS, TOOLS, Load, ingress, slurp  # noqa: E402

ROLLS = size(10, 1)
REPLICAS = size(3, 2)
RATE = 1000


def deployment(tag):
    labels = {'app': 'web'}
    return {'apiVersion': 'apps/v1', 'kind': 'Deployment', 'metadata': {'name': 'web', 'namespace': 'default'}, 'spec': {
        'replicas': REPLICAS, 'selector': {'matchLabels': labels}, 'strategy': {'rollingUpdate': {'maxUnavailable': 0, 'maxSurge': 1}},
        'template': {'metadata': {'labels': labels}, 'spec': {'terminationGracePeriodSeconds': 5, 'automountServiceAccountToken': False,
                                                              'containers': [{'name': 'c', 'image': f'origin:{tag}', 'ports': [{'containerPort': 8000}]}]}}}}


class Witness(threading.Thread):
    """Asks now and then; of what failed it keeps the answer, and what the API server and the log said at that moment."""

    def __init__(self, planes, kubectl):
        super().__init__(daemon=True)
        self.planes, self.kubectl, self.seen, self.go = planes, kubectl, [], True

    def run(self):
        while self.go and len(self.seen) < 2:
            time.sleep(0.02)
            try:
                status, _, body = self.planes.get()
                if status != 200:
                    slices = json.loads(self.kubectl('get', 'endpointslices', '-l', 'kubernetes.io/service-name=web', '-o', 'json'))['items']
                    self.seen.append((status, body.decode(), [(s['metadata']['resourceVersion'], s.get('endpoints')) for s in slices], slurp(self.planes.log.name)[-1500:]))
            except OSError as e:
                self.seen.append(repr(e))


def main():
    drill = Drill('rolls', f'{ROLLS} rolls of {REPLICAS} Pods at {RATE} requests/s')
    work = tempfile.mkdtemp(prefix='sluice-drill.')
    state = os.path.join(work, 'kube')
    up(state, controllers=True)
    kubectl = lambda *args, stdin=None: subprocess.run([os.path.join(state, 'kubectl'), '--kubeconfig', os.path.join(state, 'admin.kubeconfig'), *args], input=stdin, capture_output=True,
                                                       text=True, check=True).stdout
    apply = lambda *objects: kubectl('apply', '-f', '-', stdin=json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}))
    planes = None
    try:
        node.Node(node.connect(state), os.path.join(TOOLS, 'origin')).start()
        apply(CLASS, deployment('v00'), {'apiVersion': 'v1', 'kind': 'Service', 'metadata': {'name': 'web', 'namespace': 'default'},
                                         'spec': {'selector': {'app': 'web'}, 'ports': [{'name': 'http', 'port': 80, 'targetPort': 8000}]}}, ingress('web', 'a.example', 'web'))
        planes = Planes(os.path.join(state, 'admin.kubeconfig')).read_ports()
        planes.until(lambda: planes.get()[2].endswith(b' v00\n'), 60, 'a Pod answers')
        kubectl('rollout', 'status', 'deployment/web', '--timeout=60s')
        # "0 1 0 vNN\n": ten bytes, whoever answers.
        load = Load('rate', planes.ports['http'], 'a.example', '/10', RATE, ROLLS * 12, 64)
        rolls, start, witness = 0, time.monotonic(), Witness(planes, kubectl)
        witness.start()
        try:
            for i in range(1, ROLLS + 1):
                apply(deployment(f'v{i:02}'))
                kubectl('rollout', 'status', 'deployment/web', '--timeout=60s')
                drill.need(planes.get()[2].endswith(b' v%02d\n' % i), f'roll {i}: the new Pods answer')
                rolls += load.proc.poll() is None
                time.sleep(max(0.0, start + i * 12 - 2 - time.monotonic()) if i < ROLLS else 0)
            result = load.result()
        finally:
            witness.go = False
            load.stop()
        drill.need(rolls == ROLLS, f'{rolls} rolls within the load')
        drill.need(result['failed'] == 0, f'{result} {witness.seen}')
        drill.done(rolls=rolls, requests=result['requests'], failed=result['failed'], p99_us=result['p99'], p999_us=result['p999'])
    finally:
        if planes:
            planes.stop()
            shutil.rmtree(planes.work, ignore_errors=True)
        subprocess.run([KUBE, 'down', state], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    inside(__file__)
    main()
