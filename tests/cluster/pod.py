"""Runs the containers of a Pod as its spec says: each in a mount namespace of its own with the unpacked image as its read-only root, the Pod's volumes where it
mounts them (emptyDir, ConfigMap, projected token), its uid, group, fsGroup, no capabilities and no way to new ones. Environment, arguments, HTTP probes, restarts,
preStop sleep and grace period are a kubelet's as far as the chart uses them. What it does not know it refuses: a test must not pass because a field was skipped.
Used by node.py; root, inside `hack/kube netns` only."""
import base64
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

# $1 a folder, $2 the unpacked image, $3 file of mounts (source, target, ro or rw); then what ends in the container.
ENTER = r'''
set -e
folder=$1 image=$2 mounts=$3 root=$1/root; shift 3
mount -t tmpfs none "$folder"
mkdir "$folder"/upper "$folder"/work "$root"
mount -t overlay overlay -o "lowerdir=$image,upperdir=$folder/upper,workdir=$folder/work" "$root"
mkdir -p "$root"/dev "$root"/proc
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
while IFS="	" read -r source target how; do
  mkdir -p "$root$target"
  mount -o bind,$how "$source" "$root$target"
done <"$mounts"
mount -o remount,ro "$root"
exec "$@"
'''
# Python, because it can do all of it after it has left this machine's files behind: root, uid, gid, groups, then the command.
DROP = r'''
import ctypes, os, sys
prctl = ctypes.CDLL(None, use_errno=True).prctl
root, uid, gid, groups, command = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [int(g) for g in sys.argv[4].split(",")], sys.argv[5:]
os.chroot(root)
os.chdir("/")
for capability in range(64):
    prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP; false for numbers that are none
os.setgroups(groups)
os.setresgid(gid, gid, gid)
os.setresuid(uid, uid, uid)
if prctl(38, 1, 0, 0, 0) != 0:  # PR_SET_NO_NEW_PRIVS
    sys.exit("no_new_privs")
os.execvp(command[0], command)
'''
KNOWN_POD = {'serviceAccountName', 'serviceAccount', 'automountServiceAccountToken', 'enableServiceLinks', 'terminationGracePeriodSeconds', 'securityContext', 'topologySpreadConstraints',
             'containers', 'volumes', 'dnsPolicy', 'restartPolicy', 'schedulerName', 'tolerations', 'priority', 'preemptionPolicy', 'nodeName'}
KNOWN_CONTAINER = {'name', 'image', 'imagePullPolicy', 'command', 'args', 'env', 'ports', 'livenessProbe', 'readinessProbe', 'lifecycle', 'resources', 'securityContext', 'volumeMounts',
                   'terminationMessagePath', 'terminationMessagePolicy'}


class Probe:
    def __init__(self, spec, address, ports):
        port = spec['httpGet']['port']
        self.url = f'http://{address}:{ports.get(port, port)}{spec["httpGet"]["path"]}'
        self.spec, self.due, self.failures, self.good = spec, time.monotonic() + spec.get('initialDelaySeconds', 0), 0, False

    def step(self):
        """Asks if it is time; whether the verdict is good."""
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + self.spec.get('periodSeconds', 10)
        try:
            with urllib.request.urlopen(self.url, timeout=self.spec.get('timeoutSeconds', 1)) as r:
                ok = 200 <= r.status < 400
        except (OSError, http.client.HTTPException):
            ok = False
        self.failures = 0 if ok else self.failures + 1
        self.good = ok or (self.good and self.failures < self.spec.get('failureThreshold', 3))

    def dead(self):
        return self.failures >= self.spec.get('failureThreshold', 3)


class Container:
    def __init__(self, pod, spec):
        unknown = set(spec) - KNOWN_CONTAINER
        assert not unknown, f'{spec["name"]}: {unknown}'
        self.pod, self.spec, self.name = pod, spec, spec['name']
        self.ports = {p['name']: p['containerPort'] for p in spec.get('ports', []) if 'name' in p}
        self.restarts, self.since = -1, ''
        self.log = os.path.join(pod.folder, self.name + '.log')
        self.proc, self.ready = None, False

    def environment(self):
        out = {'PATH': '/usr/bin:/bin:/usr/sbin:/sbin', 'HOSTNAME': self.pod.name, **self.pod.server}
        for one in self.spec.get('env', []):
            field = one.get('valueFrom', {}).get('fieldRef', {}).get('fieldPath')
            out[one['name']] = one['value'] if field is None else {'status.podIP': self.pod.address, 'metadata.name': self.pod.name, 'metadata.namespace': self.pod.ns, 'metadata.uid': self.pod.uid}[field]
        return out

    def start(self):
        context, env = self.spec['securityContext'], self.environment()
        assert context['readOnlyRootFilesystem'] and context['capabilities'] == {'drop': ['ALL']} and not context['allowPrivilegeEscalation'], 'only such containers are played'
        folder, mounts = os.path.join(self.pod.folder, self.name + '.mount'), os.path.join(self.pod.folder, self.name + '.mounts')
        os.makedirs(folder, exist_ok=True)
        with open(mounts, 'w') as f:
            for one in self.spec.get('volumeMounts', []):
                f.write(f'{self.pod.volume(one["name"])}\t{one["mountPath"]}\t{"ro" if one.get("readOnly") else "rw"}\n')
        expand = lambda text: re.sub(r'\$\((\w+)\)', lambda m: env.get(m[1], m[0]), text)
        command = [expand(word) for word in self.spec['command'] + self.spec.get('args', [])]
        uid, gid = context['runAsUser'], context['runAsGroup']
        with open(self.log, 'ab') as log:
            os.chown(self.log, uid, gid)  # as a container runtime does with what it gives as stdout
            self.proc = subprocess.Popen(['ip', 'netns', 'exec', self.pod.netns, 'unshare', '--mount', '--propagation', 'private', 'bash', '-c', ENTER, self.name, folder, self.pod.image, mounts,
                                          sys.executable, '-I', '-c', DROP, os.path.join(folder, 'root'), str(uid), str(gid), ','.join(map(str, sorted({gid, self.pod.group}))), *command],
                                         stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        probe = lambda which: Probe(self.spec[which], self.pod.address, self.ports) if which in self.spec else None
        self.liveness, self.readiness = probe('livenessProbe'), probe('readinessProbe')
        self.restarts, self.since, self.ready = self.restarts + 1, self.pod.stamp(), False

    def step(self, ending):
        if self.proc.poll() is not None:
            self.ready = False
            if not ending:
                self.start()
            return
        for probe in (self.liveness, self.readiness):
            if probe:
                probe.step()
        self.ready = self.readiness.good if self.readiness else True
        if self.liveness and self.liveness.dead() and not ending:
            self.proc.kill()

    def status(self):
        running = self.proc.poll() is None
        state = {'running': {'startedAt': self.since}} if running else {'terminated': {'exitCode': self.proc.returncode}}
        return {'name': self.name, 'image': self.spec['image'], 'imageID': '', 'ready': self.ready, 'started': running, 'restartCount': self.restarts, 'state': state}


class Pod:
    """begin() returns at once; a thread of its own goes on until end() has returned."""

    def __init__(self, api, pod, address, netns, image, folder, server, stamp):
        self.api, self.spec, self.address, self.netns, self.image, self.stamp = api, pod['spec'], address, netns, image, stamp
        self.name, self.ns, self.uid = pod['metadata']['name'], pod['metadata']['namespace'], pod['metadata']['uid']
        unknown = set(self.spec) - KNOWN_POD
        assert not unknown, unknown
        self.folder = os.path.join(folder, self.uid)
        self.server = dict(zip(('KUBERNETES_SERVICE_HOST', 'KUBERNETES_SERVICE_PORT'), server))
        self.group = self.spec['securityContext']['fsGroup']
        self.path = f'/api/v1/namespaces/{self.ns}/pods/{self.name}'
        self.containers = [Container(self, one) for one in self.spec['containers']]
        self.ending = threading.Event()
        self.written, self.versions, self.looked = None, {}, 0.0

    # ---- Volumes

    def volume(self, name):
        return os.path.join(self.folder, 'volumes', name)

    def make_volumes(self):
        for one in self.spec['volumes']:
            path = self.volume(one['name'])
            os.makedirs(path)
            os.chown(path, 0, self.group)
            if 'emptyDir' in one:
                os.chmod(path, 0o2777)
            elif 'configMap' in one:
                self.fill(path, self.config_map(one['configMap']), 0o644)
            elif 'projected' in one:
                files = {}
                for source in one['projected']['sources']:
                    files.update(self.source(source))
                self.fill(path, files, 0o600)
            else:
                raise AssertionError(f'volume {one}')

    def config_map(self, spec):
        got = self.api.call('GET', f'/api/v1/namespaces/{self.ns}/configmaps/{spec["name"]}')
        self.versions[spec['name']] = got['metadata']['resourceVersion']
        data = {**{k: v.encode() for k, v in got.get('data', {}).items()}, **{k: base64.b64decode(v) for k, v in got.get('binaryData', {}).items()}}
        return {item['path']: data[item['key']] for item in spec['items']} if 'items' in spec else data

    def source(self, source):
        if 'serviceAccountToken' in source:
            asked = source['serviceAccountToken']
            got = self.api.call('POST', f'/api/v1/namespaces/{self.ns}/serviceaccounts/{self.spec["serviceAccountName"]}/token', {
                'apiVersion': 'authentication.k8s.io/v1', 'kind': 'TokenRequest',
                'spec': {'expirationSeconds': asked['expirationSeconds'], 'boundObjectRef': {'apiVersion': 'v1', 'kind': 'Pod', 'name': self.name, 'uid': self.uid}}})
            return {asked['path']: got['status']['token'].encode()}
        if 'configMap' in source:
            return self.config_map(source['configMap'])
        return {item['path']: {'metadata.namespace': self.ns}[item['fieldRef']['fieldPath']].encode() for item in source['downwardAPI']['items']}

    def fill(self, path, files, mode):
        """A version of the files in a folder of its own, changed by renaming one link, as a kubelet does it."""
        version = f'..{time.monotonic_ns()}'
        os.makedirs(os.path.join(path, version))
        for name, content in files.items():
            whole = os.path.join(path, version, name)
            with open(whole, 'wb') as f:
                f.write(content)
            os.chown(whole, 0, self.group)
            os.chmod(whole, mode | 0o440)
            if not os.path.lexists(os.path.join(path, name)):
                os.symlink(os.path.join('..data', name), os.path.join(path, name))
        old = os.path.join(path, '..data')
        was = os.readlink(old) if os.path.lexists(old) else None
        os.symlink(version, old + '_tmp')
        os.rename(old + '_tmp', old)
        if was:
            shutil.rmtree(os.path.join(path, was))

    def refresh(self):
        if time.monotonic() - self.looked < 1:
            return
        self.looked = time.monotonic()
        for one in self.spec['volumes']:
            if 'configMap' in one:
                before = self.versions.get(one['configMap']['name'])
                files = self.config_map(one['configMap'])
                if self.versions[one['configMap']['name']] != before:
                    self.fill(self.volume(one['name']), files, 0o644)

    # ---- Life

    def begin(self):
        os.makedirs(os.path.join(self.folder, 'volumes'))
        self.make_volumes()
        for one in self.containers:
            one.start()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while any(one.proc.poll() is None for one in self.containers) or not self.ending.is_set():
            try:
                if not self.ending.is_set():
                    self.refresh()
                for one in self.containers:
                    one.step(self.ending.is_set())
                self.report()
            except (OSError, ValueError, http.client.HTTPException):
                pass  # the API server is away: told later
            time.sleep(0.1)

    def report(self):
        statuses = [one.status() for one in self.containers]
        ready = 'True' if all(one.ready for one in self.containers) else 'False'
        if (statuses, ready) == self.written:
            return
        t = self.stamp()
        conditions = [{'type': k, 'status': ready if k in ('Ready', 'ContainersReady') else 'True', 'lastTransitionTime': t} for k in ('Initialized', 'Ready', 'ContainersReady', 'PodScheduled')]
        self.api.call('PATCH', self.path + '/status', {'status': {
            'phase': 'Running', 'podIP': self.address, 'podIPs': [{'ip': self.address}], 'startTime': self.containers[0].since, 'conditions': conditions,
            'containerStatuses': statuses}}, 'application/merge-patch+json')
        self.written = (statuses, ready)

    def end(self, grace):
        """preStop, SIGTERM, and what is left at the end of the grace period is killed. Whether everything ended by itself."""
        deadline = time.monotonic() + grace
        self.ending.set()
        time.sleep(min(grace, max(one.spec.get('lifecycle', {}).get('preStop', {}).get('sleep', {}).get('seconds', 0) for one in self.containers)))
        for one in self.containers:
            if one.proc.poll() is None:
                one.proc.send_signal(signal.SIGTERM)
        clean = True
        for one in self.containers:
            try:
                one.proc.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                clean = False
                one.proc.kill()
                one.proc.wait()
        self.thread.join()
        return clean
