"""Control groups (v1 or v2) with a limit of memory, of CPU time or both, for gateways that must live within them."""
import contextlib
import os
import time
import unittest

from lib.gateway import PATIENCE, slurp

PERIOD_US = 5000  # of a CPU limit: short, so that who has used up its part waits for milliseconds


def hierarchies():
    """{controller: the folder of our own group in the hierarchy that has it}."""
    out = {}
    for line in slurp('/proc/self/cgroup').split('\n'):
        _, _, rest = line.partition(':')
        controllers, _, path = rest.partition(':')
        if controllers == '' and os.path.exists('/sys/fs/cgroup/cgroup.controllers'):
            for name in slurp('/sys/fs/cgroup/cgroup.controllers').split():
                out.setdefault(name, '/sys/fs/cgroup' + path)
        for name in controllers.split(','):
            if name and '=' not in name:
                out[name] = f'/sys/fs/cgroup/{name}' + path
    return out


def remove(folder):
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return os.rmdir(folder)  # its last process may not be quite gone
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def control_group(memory=None, cpu=None, period_us=PERIOD_US):
    """Groups below our own with so many bytes and such a part of a CPU; their folders, for inside(). Skips where none can be made."""
    found, settings = hierarchies(), {}
    for controller, wanted in (('memory', memory), ('cpu', cpu)):
        if wanted is None:
            continue
        if controller not in found:
            raise unittest.SkipTest(f'no control groups for {controller}')
        v2 = os.path.exists('/sys/fs/cgroup/cgroup.controllers')
        if controller == 'memory':
            files = [('memory.max' if v2 else 'memory.limit_in_bytes', str(wanted))]
        else:
            quota = int(period_us * wanted)  # before anybody else, and no more
            files = [('cpu.max', f'{quota} {period_us}'), ('cpu.weight', '10000')] if v2 else [('cpu.cfs_period_us', str(period_us)), ('cpu.cfs_quota_us', str(quota)), ('cpu.shares', '262144')]
        settings.setdefault(os.path.join(found[controller], f'sluice-test-{os.getpid()}'), []).extend(files)
    with contextlib.ExitStack() as made:
        for folder, files in settings.items():
            try:
                os.mkdir(folder)
                made.callback(remove, folder)
                for name, value in files:
                    with open(os.path.join(folder, name), 'w') as f:
                        f.write(value)
            except OSError as e:
                raise unittest.SkipTest(f'no control group with a limit can be made: {e}')
        yield list(settings)


def inside(folders, *command):
    """Gateway(wrap=...) that runs it in the groups."""
    return 'sh', '-c', ''.join(f'echo $$ >{folder}/cgroup.procs && ' for folder in folders) + 'exec "$@"', 'sh', *command


def move(folders, pid):
    for folder in folders:
        with open(os.path.join(folder, 'cgroup.procs'), 'w') as f:
            f.write(str(pid))


def lift_cpu_limit(folders):
    for folder in folders:
        for name, value in (('cpu.max', 'max'), ('cpu.cfs_quota_us', '-1')):
            if os.path.exists(os.path.join(folder, name)):
                with open(os.path.join(folder, name), 'w') as f:
                    f.write(value)


def most_used(folders):
    """Bytes that a group with a memory limit has used at most; None where the kernel does not say."""
    for folder in folders:
        for name in ('memory.peak', 'memory.max_usage_in_bytes'):
            if os.path.exists(os.path.join(folder, name)):
                return int(slurp(os.path.join(folder, name)))
    return None
