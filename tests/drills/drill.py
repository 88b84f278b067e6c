"""What the drills share: what was asked and seen as one line of JSON, a miss as the exit code; sizes; memory and descriptors of a gateway's processes.
A drill is a program: its long form, or with --short the one of hack/test. `hack/drill` lists and runs them."""
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from lib.gateway import slurp  # noqa: E402

SHORT = '--short' in sys.argv


def size(long, short):
    return short if SHORT else long


class Drill:
    def __init__(self, name, asked):
        self.name, self.asked, self.misses, self.start = name, asked, [], time.monotonic()

    def need(self, good, what):
        if not good:
            self.misses.append(str(what)[:6000])

    def done(self, **seen):
        print(json.dumps({'drill': self.name, 'asked': self.asked, 'seen': seen, 'seconds': round(time.monotonic() - self.start, 1), 'missed': self.misses}), flush=True)
        if self.misses:
            sys.exit(1)


def resident_kib(pid):
    """{'Anon', 'File', 'Shmem'}: its own memory; pages of programs and libraries; tables, counters and buckets."""
    return {line[3:line.index(':')]: int(line.split()[1]) for line in slurp(f'/proc/{pid}/status').splitlines() if line.startswith(('RssAnon', 'RssFile', 'RssShmem'))}


def descriptors(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


def tables_mapped(pid):
    """Route tables that a process has mapped."""
    return sum('memfd:' in line and 'table' in line for line in slurp(f'/proc/{pid}/maps').splitlines())


def quantile(samples, q):
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
