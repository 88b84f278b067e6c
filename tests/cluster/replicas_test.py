#!/usr/bin/env python3
"""Three replicas on a real API server: one writes status; Programmed means live on each of them, asked at once, again and again, also over the leader's death. Re-runs
itself inside `hack/kube netns`. ROUNDS: how often a Route is changed and waited for (the long form: 1000)."""
import json
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from cluster import release  # noqa: E402
from lib.gateway import BIN, CLASS, PATIENCE, ROOT, end_processes, read_answer, slurp  # noqa: E402

ADDRESS = release.ADDRESS
ROUNDS = int(os.environ.get('ROUNDS', '40'))
ROUTES = '/apis/sluice.dev/v1alpha1/namespaces/default/routes'
LEASES = '/apis/coordination.k8s.io/v1/namespaces/gateways/leases'


class Replica:
    def __init__(self, test, number):
        self.name, self.test = f'gateway-{number}', test
        self.http, self.admin = 8000 + 10 * number, 8001 + 10 * number
        self.sock = os.path.join(test.work, f'{self.name}.sock')
        self.log = open(os.path.join(test.work, self.name + '.log'), 'w+')
        self.start_control()
        self.data = subprocess.Popen([os.path.join(BIN, 'sluice-dataplane'), '--socket', self.sock, '--admin-port', str(self.admin), '--admin-bind', ADDRESS, '--workers', '2'], stdout=self.log, stderr=self.log)

    def start_control(self):
        env = dict(os.environ, POD_NAME=self.name, POD_NAMESPACE='gateways', POD_UID=self.test.pods[self.name])
        self.control = subprocess.Popen([os.path.join(BIN, 'sluice-controlplane'), '--kubeconfig', self.test.env['KUBECONFIG'], '--socket', self.sock, '--http-port', str(self.http), '--bind', ADDRESS,
                                         '--replicas-of', 'gateway-leader'], stdout=self.log, stderr=self.log, env=env)

    def ask(self, path, port=None):
        with socket.create_connection((ADDRESS, port or self.http), timeout=PATIENCE) as s:
            s.sendall(f'GET {path} HTTP/1.1\r\nHost: truth.example\r\nConnection: close\r\n\r\n'.encode())
            status, _, body = read_answer(s)
            return status, body.decode()

    def stop(self):
        end_processes(self.control, self.data)
        self.log.close()


class Replicas(release.Release):
    def setUp(self):
        self.begin_cluster('replicas')
        self.addCleanup(self.end_cluster)
        self.replicas = []
        self.kubectl('apply', '--server-side', '-f', os.path.join(ROOT, 'crds'))
        self.crds_established()
        self.kubectl('create', 'namespace', 'gateways')
        self.apply(CLASS)
        self.pods = {}
        for i in range(3):
            pod = {'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': f'gateway-{i}', 'namespace': 'gateways'},
                   'spec': {'automountServiceAccountToken': False, 'containers': [{'name': 'c', 'image': 'gateway'}]}}
            self.apply(pod)
            self.pods[f'gateway-{i}'] = self.kubectl('get', 'pod', '-n', 'gateways', f'gateway-{i}', '-o', 'jsonpath={.metadata.uid}')
            self.pod_ready(f'gateway-{i}', True)
        for i in range(3):
            self.replicas.append(Replica(self, i))
            self.addCleanup(self.replicas[-1].stop)

    def pod_ready(self, name, ready):
        conditions = {'status': {'conditions': [{'type': 'Ready', 'status': 'True' if ready else 'False'}]}}
        self.kubectl('patch', 'pod', '-n', 'gateways', name, '--subresource=status', '-p', json.dumps(conditions))

    def logs(self):
        for replica in self.replicas:
            replica.log.flush()
        return ''.join(f'\n--- {replica.name}\n' + '\n'.join(slurp(replica.log.name).split('\n')[-15:]) for replica in self.replicas)

    def route(self, name, text):
        body = {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'Route', 'metadata': {'name': name, 'namespace': 'default'}, 'spec': {
            'parentRefs': [{'group': 'networking.k8s.io', 'kind': 'IngressClass', 'name': 'sluice'}], 'hostnames': ['truth.example'],
            'rules': [{'matches': [{'path': {'type': 'Exact', 'value': '/' + name}}], 'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': text}}]}]}}
        return self.api.call('PATCH', f'{ROUTES}/{name}?fieldManager=test&force=true', body, kind='application/apply-patch+yaml')

    def programmed(self, name):
        """(generation, observedGeneration of Programmed, its status, its message) as `kubectl wait` sees it."""
        route = self.api.call('GET', f'{ROUTES}/{name}')
        for condition in route.get('status', {}).get('conditions', []):
            if condition['type'] == 'Programmed':
                return route['metadata']['generation'], condition['observedGeneration'], condition['status'], condition['message']
        return route['metadata']['generation'], 0, 'Unknown', ''

    def leader(self):
        return self.api.call('GET', LEASES + '/gateway-leader')['spec'].get('holderIdentity', '')

    def test_programmed_means_live_on_every_replica(self):
        for replica in self.replicas:
            self.until(lambda r=replica: r.ask('/readyz', r.admin)[0] == 200, f'{replica.name} is ready')
        self.until(lambda: self.leader() in self.pods, 'one leads')
        # A Route for kubectl's own wait.
        self.route('first', 'first')
        self.kubectl('wait', '--for=condition=Programmed', 'route/first', '--timeout=120s')
        misses = []
        dead = []
        for i in range(ROUNDS):
            if i in (ROUNDS // 3, 2 * ROUNDS // 3):
                # Once the hard way, once by the book: the next one writes.
                self.until(lambda: self.leader() in self.pods, 'one leads')
                name = self.leader()
                leading = next(r for r in self.replicas if r.name == name)
                leading.control.send_signal(signal.SIGKILL if not dead else signal.SIGTERM)
                leading.control.wait(PATIENCE)
                dead.append(leading.name)
                leading.start_control()
            generation = self.route('changing', f'round {i}')['metadata']['generation']
            self.until(lambda: (lambda p: p[1] == generation and p[2] == 'True')(self.programmed('changing')), f'round {i} is Programmed: {self.programmed("changing")}', 60)
            for replica in self.replicas:
                got = replica.ask('/changing')
                if got != (200, f'round {i}'):
                    misses.append((i, replica.name, got))
        self.assertEqual(misses, [])
        # Who writes what is there writes once: each generation's status is one write, Pending at a leader's death another one.
        managed = self.api.call('GET', f'{ROUTES}/changing')
        self.assertEqual(managed['metadata']['generation'], ROUNDS)
        version = managed['metadata']['resourceVersion']
        time.sleep(3)
        self.assertEqual(self.api.call('GET', f'{ROUTES}/changing')['metadata']['resourceVersion'], version, 'the status moves although nothing does')
        for replica in self.replicas:
            replica.log.flush()
            self.assertNotIn('cannot write a status', slurp(replica.log.name), 'two write at once')

    def test_a_replica_that_lacks_it_is_named_and_one_that_is_not_ready_does_not_count(self):
        self.until(lambda: self.leader() in self.pods, 'one leads')
        leader = self.leader()
        follower = next(r for r in self.replicas if r.name != leader)
        for replica in self.replicas:
            self.until(lambda r=replica: r.ask('/readyz', r.admin)[0] == 200, f'{replica.name} is ready')
        self.until(lambda: all(self.api.call('GET', f'{LEASES}/{name}')['metadata']['annotations']['sluice.dev/ready'] == 'true' for name in self.pods), 'every replica says ready')
        # It stands still with an old table, and is Ready.
        follower.control.send_signal(signal.SIGSTOP)
        try:
            self.route('still', 'still')
            self.until(lambda: follower.name in self.programmed('still')[3], 'the replica that lacks it is named')
            self.assertEqual(self.programmed('still')[2], 'False')
            self.assertEqual(follower.ask('/still')[0], 404)
            # Its Lease runs out; its Pod says whether it serves.
            time.sleep(16)
            self.assertEqual(self.programmed('still')[2], 'False')
            self.pod_ready(follower.name, False)
            self.until(lambda: self.programmed('still')[2] == 'True', 'a replica that is not Ready does not count')
        finally:
            follower.control.send_signal(signal.SIGCONT)
        self.until(lambda: follower.ask('/still')[0] == 200, 'it follows when it can')
        # What has been said is not taken back for one that joins.
        self.assertEqual(self.programmed('still')[2], 'True')


if __name__ == '__main__':
    release.main(__file__)
