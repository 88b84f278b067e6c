"""What the tests of the chart share: helm as hack/kube builds it, with a home of its own, and the golden value sets."""
import functools
import glob
import os
import subprocess
import tempfile

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, '..', '..')
KUBE = os.path.join(ROOT, 'hack', 'kube')
CHART = os.path.join(ROOT, 'helm', 'sluice')
GOLDEN = os.path.join(HERE, 'golden')
# YAML lists with their dashes where the key begins, as the chart writes them; anchors never.
KUBE_VERSION = '1.30.0'


@functools.cache
def program():
    return subprocess.run([KUBE, 'path', 'helm'], check=True, capture_output=True, text=True).stdout.strip()


@functools.cache
def home():
    """No plugins, repositories or caches of the person who runs the tests."""
    folder = tempfile.TemporaryDirectory(prefix='sluice-helm.')
    return folder, {f'HELM_{name}_HOME': os.path.join(folder.name, name.lower()) for name in ('CACHE', 'CONFIG', 'DATA')}


def helm(*args, stdin=None, env=None):
    """(exit code, stdout, stderr)"""
    done = subprocess.run([program(), *args], input=stdin, capture_output=True, text=True, env={**os.environ, 'KUBECONFIG': '/dev/null', **home()[1], **(env or {})})
    return done.returncode, done.stdout, done.stderr


def template(values='', release='edge', namespace='gateways', args=()):
    """(exit code, manifests, stderr) of the chart with these values (YAML)."""
    return helm('template', release, CHART, '--namespace', namespace, '--kube-version', KUBE_VERSION, '--values', '-', *args, stdin=values)


def golden_inputs():
    return sorted(glob.glob(os.path.join(GOLDEN, '*.in.yaml')))


def name_of(path):
    return os.path.basename(path).removesuffix('.in.yaml')


def slurp(path):
    with open(path) as f:
        return f.read()


def objects(manifests):
    return [one for one in yaml.safe_load_all(manifests) if one]


def pod_spec(rendered):
    """spec of the one workload's Pods."""
    [workload] = [one for one in rendered if one['kind'] in ('Deployment', 'DaemonSet')]
    return workload['spec']['template']['spec']


def container(rendered, name):
    return next(c for c in pod_spec(rendered)['containers'] if c['name'] == name)
