#!/usr/bin/env python3
"""The data plane starts alone from its state folder: exec to first answer within a second, with 10,000 hosts. Then every file of the folder is damaged in every way, over
and over: the newest state or the one before is served, whole, or nothing; never half of one, never a crash."""
import os
import random
import shutil
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import SHORT, Drill, quantile, size  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, Origin, ingress, route, service, slurp  # noqa: E402
from proxy.supervision_test import DataPlane, sockets_of  # noqa: E402

HOSTS = size(10000, 500)
STARTS = size(20, 3)
ROUNDS = size(10, 1)


def marked(mark):
    """Two hosts that tell the state: of one state, both say the same."""
    return [route(f'm{i}', [f'mark{i}.example'], [{'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': mark}}]}]) for i in range(2)]


def flip(path, rng):
    with open(path, 'r+b') as f:
        at = rng.randrange(os.path.getsize(path))
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ (1 << rng.randrange(8))]))


def overwrite(path, rng):
    with open(path, 'wb') as f:
        f.write(rng.randbytes(os.path.getsize(path)) or b'x')


WAYS = {'flip': flip, 'cut': lambda p, rng: os.truncate(p, rng.randrange(os.path.getsize(p))), 'empty': lambda p, rng: os.truncate(p, 0), 'missing': lambda p, rng: os.unlink(p),
        'garbage': overwrite}


def first_answer(gw, state):
    """Seconds from exec to the first answer."""
    start = time.monotonic()
    alone = DataPlane(gw, state)
    while True:
        for port in sockets_of(alone.proc.pid):
            try:
                if gw.get('/', host='mark0.example', port=port)[0] == 200:
                    seconds = time.monotonic() - start
                    alone.__exit__()
                    return seconds
            except OSError:
                pass
        if time.monotonic() - start > PATIENCE:
            raise AssertionError(f'no answer in {PATIENCE} s\n' + gw.tail())
        time.sleep(0.001)


def damaged_start(gw, state):
    """What is served: the mark of a state, '' for nothing, None for a mixture or a crash."""
    os.truncate(gw.log_path, 0)
    alone = DataPlane(gw, state, usable=False)
    with alone:  # it has read the folder: it looks for a control plane
        end = time.monotonic() + PATIENCE  # one state is always whole: it listens
        while not (ports := sockets_of(alone.proc.pid)) and time.monotonic() < end:
            time.sleep(0.005)
        if alone.proc.poll() is not None:
            return None
        if not ports:
            return ''
        port = ports.pop()
        gw.until(lambda: gw.get('/', host='mark0.example', port=port)[0] == 200, what='it answers')
        seen = {gw.get('/', host=f'mark{i % 2}.example', port=port)[2] for i in range(4)}
        whole = len(seen) == 1 and 'worker died' not in (log := slurp(gw.log_path)) and 'agent died' not in log
        return seen.pop().decode() if whole else None


def start_on_copy(gw, folder, state):
    """damaged_start() on a copy. A worker that the machine let stand for two seconds is replaced, as one that hangs; what is in the folder makes every one hang."""
    for _ in range(3):
        shutil.rmtree(state)
        shutil.copytree(folder, state)
        got = damaged_start(gw, state)
        if got is not None or 'no heartbeat' not in slurp(gw.log_path):
            break
    return got


def main():
    drill, rng = Drill('cold-start', f'{STARTS} starts with {HOSTS} hosts, first answer within 1 s; files damaged {ROUNDS} x {len(WAYS)} ways each'), random.Random(7)
    with Origin(1) as origin:
        gw = Gateway([CLASS] + service('web', origin.ports) + [ingress(f'i{i}', f'h{i}.example', 'web') for i in range(HOSTS)] + marked('old'), workers=1)
        try:
            state = os.path.join(gw.state, 'last-good')
            gw.until(lambda: 'manifest' in os.listdir(state), what='the first state is on disk')
            gw.write('objects.json', [CLASS] + service('web', origin.ports) + [ingress(f'i{i}', f'h{i}.example', 'web') for i in range(HOSTS)] + marked('new'))
            gw.until(lambda: gw.get('/', host='mark1.example')[2] == b'new', what='the second state')
            gw.end()
            good, damaged = os.path.join(gw.work, 'good'), os.path.join(gw.work, 'damaged')
            shutil.copytree(state, good)  # a start writes the state anew
            starts = [first_answer(gw, state) for _ in range(STARTS)]
            drill.need(SHORT or max(starts) <= 1, f'exec to first answer: up to {max(starts):.2f} s')
            served, broken = {'new': 0, 'old': 0, '': 0}, []
            for name in sorted(os.listdir(good)):
                if not os.path.getsize(os.path.join(good, name)):
                    continue
                for way, do in WAYS.items():
                    for _ in range(ROUNDS if way in ('flip', 'cut', 'garbage') else 1):
                        shutil.rmtree(damaged, ignore_errors=True)
                        shutil.copytree(good, damaged)
                        do(os.path.join(damaged, name), rng)
                        got = start_on_copy(gw, damaged, state)
                        if got in served:
                            served[got] += 1
                        else:
                            broken.append((name, way, gw.tail(10)))
                        if got == '':
                            broken.append((name, way, 'nothing is served although one state is whole'))
            drill.need(served['old'] > 0 and served['new'] > 0, f'both states are served, according to what is damaged: {served}')
            drill.need(not broken, f'{len(broken)}: {broken[:5]}')
            drill.done(hosts=HOSTS, starts=STARTS, first_answer_ms_median=round(1e3 * quantile(starts, 0.5)), first_answer_ms_max=round(1e3 * max(starts)),
                       files=len(os.listdir(good)), damaged=sum(served.values()), served_new=served['new'], served_old=served['old'], mixed_or_crashed=len(broken))
        finally:
            gw.stop()


if __name__ == '__main__':
    main()
