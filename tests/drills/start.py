#!/usr/bin/env python3
"""The first start from a real API server: from the lists' arrival to the first answer, and how many connections the control plane has to the API server at once.
--ingresses N, --secrets N (TLS Secrets, named by the first N of them)."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import Drill, size  # noqa: E402
from drills.planes import ADDRESS, KUBE, Planes, inside  # noqa: E402
from drills.propagation import PORT, create_all, up  # noqa: E402
from lib.gateway import CLASS, ROOT, Origin, ingress, service, slurp  # noqa: E402


def secrets(count, work):
    tool = os.path.join(work, 'certs')
    subprocess.run(['gcc', '-O2', '-o', tool, os.path.join(ROOT, 'tests', 'bench', 'certs.c'), '-lcrypto'], check=True)
    return json.loads(subprocess.run([tool, str(count), 'h%d.example', 'default'], capture_output=True, check=True).stdout)['items']


def objects(o, work, origin):
    out = service('web', origin.ports, address=ADDRESS) + secrets(o.secrets, work)
    for i in range(o.ingresses):
        one = ingress(f'i{i}', f'h{i}.example', 'web')
        if i < o.secrets:
            one['spec']['tls'] = [{'hosts': [f'h{i}.example'], 'secretName': f'cert-{i:05}'}]
        out.append(one)
    return out


class Connections(threading.Thread):
    """The most connections to the API server that a process had when looked at."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.most, self.go = pid, 0, True

    def run(self):
        there = f':{PORT:04X}'
        while self.go:
            mine = {os.readlink(f'/proc/{self.pid}/fd/{fd}') for fd in os.listdir(f'/proc/{self.pid}/fd') if os.path.islink(f'/proc/{self.pid}/fd/{fd}')}
            rows = [line.split() for line in slurp('/proc/net/tcp').splitlines()[1:]]
            self.most = max(self.most, sum(r[2].endswith(there) and r[3] == '01' and f'socket:[{r[9]}]' in mine for r in rows))
            time.sleep(0.01)


def listed_at(planes):
    """Unix time of the log's word that every kind has been listed."""
    for line in slurp(planes.log.name).splitlines():
        if '"every kind has been listed"' in line:
            whole, _, rest = json.loads(line)['ts'].partition('.')
            return time.mktime(time.strptime(whole, '%Y-%m-%dT%H:%M:%S')) - time.timezone + float('0.' + rest.rstrip('Z'))
    raise RuntimeError('the lists did not arrive')


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--short', action='store_true')
    a.add_argument('--ingresses', type=int, default=size(10000, 200))
    a.add_argument('--secrets', type=int, default=0)
    o = a.parse_args()
    drill = Drill('start', f'first start with {o.ingresses} Ingresses and {o.secrets} TLS Secrets on a real API server: the last one answers within 2 s of the lists (without Secrets), 12 connections at most (with)')
    work = tempfile.mkdtemp(prefix='sluice-drill.')
    state = os.path.join(work, 'kube')
    up(state)
    try:
        with Origin(1, ADDRESS) as origin:
            create_all(state, [CLASS] + objects(o, work, origin))
            begin = time.monotonic()
            planes = Planes(os.path.join(state, 'admin.kubeconfig'), level='info')
            connections = Connections(planes.control.pid)
            connections.start()
            try:
                planes.read_ports()
                planes.until(lambda: planes.get(host=f'h{o.ingresses - 1}.example')[0] in (200, 308), 60, 'the first state answers')
                answered, whole = time.time(), time.monotonic() - begin
                connections.go = False
                connections.join()
                after = answered - listed_at(planes)
                loaded = planes.metrics()['sluice_controlplane_contents_loaded']
            finally:
                planes.stop()
                shutil.rmtree(planes.work, ignore_errors=True)
        drill.need(o.secrets or after <= 2, f'{after:.2f} s after the lists')
        drill.need(loaded == o.secrets, f'{loaded} Secrets were fetched')
        drill.need(not o.secrets or connections.most <= 12, f'{connections.most} connections')
        drill.done(ingresses=o.ingresses, secrets=o.secrets, after_the_lists_s=round(after, 2), whole_s=round(whole, 2), most_connections=connections.most)
    finally:
        subprocess.run([KUBE, 'down', state], check=False)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    inside(__file__)
    main()
