"""A node for tests on a machine that can pull no images: takes unscheduled pods, gives each a network namespace on bridge d0 with an address of its own, runs
tests/tools/origin in it and reports what a kubelet reports (phase, podIP, Ready, deletion with grace). Deployments, ReplicaSets and EndpointSlices come from the
real controller manager. The image's tag is the name that the pod answers with: image "origin:v2" answers "0 1 0 v2". Pods of the images in `images` (repository ->
unpacked image) run as their spec says (pod.py), whatever the tag. Runs inside `hack/kube netns` only."""
import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
import time
import urllib.request

from cluster import pod as live
from lib.gateway import SLOW, until


class Api:
    """The few calls needed, by token over verified TLS."""

    def __init__(self, url, ca, token):
        self.url, self.token = url, token
        self.context = ssl.create_default_context(cafile=ca)

    def call(self, method, path, body=None, kind='application/json', timeout=30):
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={'Authorization': f'Bearer {self.token}', 'Content-Type': kind})
        with urllib.request.urlopen(request, context=self.context, timeout=timeout) as r:
            return json.loads(r.read())

    def watch(self, path):
        request = urllib.request.Request(self.url + path, headers={'Authorization': f'Bearer {self.token}'})
        with urllib.request.urlopen(request, context=self.context, timeout=3600) as r:
            for line in r:
                yield json.loads(line)


def sh(*args):
    subprocess.run(args, check=True, capture_output=True)


class Node(threading.Thread):
    NAME = 'test-node'

    def __init__(self, api, origin, prestop=1.0, images=None, folder=None, server=None):
        super().__init__(daemon=True)
        self.api, self.origin, self.prestop = api, origin, prestop
        self.images, self.folder, self.server = images or {}, folder, server
        self.pods, self.cut = {}, []  # by name, those of `images` that run; the names of those that did not end by themselves
        self.running, self.lock, self.next = {}, threading.Lock(), 0
        api.call('POST', '/api/v1/nodes', {'apiVersion': 'v1', 'kind': 'Node', 'metadata': {'name': self.NAME}})
        self.since = self.stamp()
        self.beat()
        threading.Thread(target=self.beat_on, daemon=True).start()

    def beat(self):
        self.api.call('PATCH', f'/api/v1/nodes/{self.NAME}/status', {'status': {'conditions': [{
            'type': 'Ready', 'status': 'True', 'reason': 'TestNode', 'message': '', 'lastHeartbeatTime': self.stamp(), 'lastTransitionTime': self.since}]}},
            'application/merge-patch+json')

    def beat_on(self):
        """A node that is silent for 50 s is taken for dead, and its Pods for not ready."""
        while True:
            time.sleep(5)
            try:
                self.beat()
            except (OSError, ValueError, http.client.HTTPException):
                pass  # the API server is away

    @staticmethod
    def stamp():
        return time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())

    def run(self):
        while True:
            try:
                listed = self.api.call('GET', '/api/v1/pods')
                for pod in listed['items']:
                    self.see(pod)
                for event in self.api.watch(f'/api/v1/pods?watch=1&resourceVersion={listed["metadata"]["resourceVersion"]}'):
                    if event['type'] == 'ERROR':
                        break
                    if event['type'] != 'DELETED':
                        self.see(event['object'])
            except (OSError, ValueError, http.client.HTTPException):  # a connection that ends may do so inside a line
                time.sleep(0.2)

    def see(self, pod):
        meta = pod['metadata']
        uid = meta['uid']
        with self.lock:
            known = uid in self.running
            if not known and 'deletionTimestamp' not in meta:
                self.running[uid] = None
                self.next += 1
                threading.Thread(target=self.begin, args=(pod, self.next), daemon=True).start()
            elif 'deletionTimestamp' in meta and self.running.get(uid) != 'ending':
                proc, self.running[uid] = self.running.get(uid), 'ending'
                threading.Thread(target=self.end, args=(pod, proc), daemon=True).start()

    def begin(self, pod, number):
        meta, spec = pod['metadata'], pod['spec']
        path = f'/api/v1/namespaces/{meta["namespace"]}/pods/{meta["name"]}'
        ns, address = f'pod{number}', f'198.18.{1 + number // 250}.{1 + number % 250}'
        if not spec.get('nodeName'):
            self.api.call('POST', path + '/binding', {'apiVersion': 'v1', 'kind': 'Binding', 'metadata': {'name': meta['name']}, 'target': {'apiVersion': 'v1', 'kind': 'Node', 'name': self.NAME}})
        sh('ip', 'netns', 'add', ns)
        sh('ip', 'link', 'add', f'v{number}', 'type', 'veth', 'peer', 'name', 'eth0', 'netns', ns)
        sh('ip', 'link', 'set', f'v{number}', 'master', 'd0', 'up')
        sh('ip', '-n', ns, 'addr', 'add', f'{address}/16', 'dev', 'eth0')
        sh('ip', '-n', ns, 'link', 'set', 'eth0', 'up')
        sh('ip', '-n', ns, 'link', 'set', 'lo', 'up')
        container = spec['containers'][0]
        image = self.images.get(container['image'].rpartition(':')[0])
        if image:
            self.begin_live(pod, address, ns, image)
            return
        proc = subprocess.Popen(['ip', 'netns', 'exec', ns, self.origin, str(container['ports'][0]['containerPort']), '1', address, container['image'].split(':')[1]], stdout=subprocess.PIPE)
        proc.stdout.readline()   # it listens
        with self.lock:
            if self.running.get(meta['uid']) == 'ending':
                proc.kill()
                return
            self.running[meta['uid']] = proc
        t = self.stamp()
        self.api.call('PATCH', path + '/status', {'status': {
            'phase': 'Running', 'podIP': address, 'podIPs': [{'ip': address}], 'startTime': t,
            'conditions': [{'type': k, 'status': 'True', 'lastTransitionTime': t} for k in ('Initialized', 'Ready', 'ContainersReady', 'PodScheduled')],
            'containerStatuses': [{'name': container['name'], 'image': container['image'], 'imageID': '', 'ready': True, 'started': True, 'restartCount': 0, 'state': {'running': {'startedAt': t}}}]}},
            'application/merge-patch+json')

    def begin_live(self, pod, address, ns, image):
        meta = pod['metadata']
        one = live.Pod(self.api, pod, address, ns, image, self.folder, self.server, self.stamp)
        one.begin()
        with self.lock:
            self.pods[meta['name']] = one
            ended = self.running.get(meta['uid']) == 'ending'
            if not ended:
                self.running[meta['uid']] = one
        if ended:
            one.end(0)

    def end(self, pod, proc):
        meta = pod['metadata']
        if isinstance(proc, live.Pod):
            if not proc.end(meta.get('deletionGracePeriodSeconds', 30)):
                self.cut.append(meta['name'])
            with self.lock:
                self.pods.pop(meta['name'], None)
            proc = None
        else:
            # A well-behaved application goes on serving while the word spreads that it is leaving.
            time.sleep(min(self.prestop, meta.get('deletionGracePeriodSeconds', 30)))
        if proc not in (None, 'ending'):
            proc.send_signal(signal.SIGKILL)
            proc.wait()
        try:
            self.api.call('DELETE', f'/api/v1/namespaces/{meta["namespace"]}/pods/{meta["name"]}', {'apiVersion': 'v1', 'kind': 'DeleteOptions', 'gracePeriodSeconds': 0,
                                                                                                     'preconditions': {'uid': meta['uid']}})
        except OSError:
            pass


def crds_established(kubectl, *names, env=None):
    """`kubectl wait` calls a definition that has no conditions yet an error, not something to wait for."""
    command = [*kubectl, 'wait', '--for=condition=Established', *(f'crd/{name}' for name in names), '--timeout=30s']
    until(lambda: subprocess.run(command, capture_output=True, env=env).returncode == 0, 120 * SLOW, f'{names} are established', pause=0.1)


OWN_CRDS = 'routes.sluice.dev', 'ratelimitpolicies.sluice.dev'


def connect(state):
    """The API of `hack/kube up STATE`."""
    read = lambda name: open(os.path.join(state, name)).read().strip()
    return Api(read('url'), os.path.join(state, 'ca.crt'), read('admin.token'))
