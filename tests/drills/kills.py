#!/usr/bin/env python3
"""kills.py worker|agent|controlplane: killed over and over under load. A worker: no connection is refused, at most what was open on it is lost, full strength within a
second each time. Agent, control plane: nothing fails, and a change made at once after the kill is on the wire within five seconds."""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import SHORT, Drill, quantile, size  # noqa: E402
from lib.gateway import CLASS, Gateway, Load, Origin, ingress, service  # noqa: E402
from proxy.supervision_test import Dialer  # noqa: E402


def wait(check, seconds=120.0):
    """Seconds until check() is true; a pause short enough to measure with."""
    start = time.monotonic()
    while not check():
        if time.monotonic() - start > seconds:
            raise AssertionError(f'not in {seconds:.0f} s')
        time.sleep(0.002)
    return time.monotonic() - start


def workers(drill, gw, kills):
    dialers, back = [Dialer(gw.http) for _ in range(4)], []
    for d in dialers:
        d.start()
    ready = lambda: 'sluice_workers_ready 2\n' in gw.metrics()
    gw.until(ready, what='both workers run the state')
    for i in range(kills):
        before = gw.pids('worker')
        os.kill(before[i % 2], signal.SIGKILL)
        back.append(wait(lambda: before[i % 2] not in (now := gw.pids('worker')) and len(now) == 2 and ready()))
        time.sleep(0.05)
    gw.until(lambda: sum(d.answered for d in dialers) > 10 * kills, what='there was something to lose')
    for d in dialers:
        d.go = False
    for d in dialers:
        d.join()
    answered, lost, refused = (sum(getattr(d, k) for d in dialers) for k in ('answered', 'lost', 'refused'))
    drill.need(refused == 0, f'{refused} connections were refused')
    drill.need(lost <= kills * len(dialers), f'{lost} lost: more than were open')
    drill.need(SHORT or max(back) <= 1, f'back to full strength after {max(back):.2f} s')
    drill.done(kills=kills, answered=answered, lost_with_their_worker=lost, refused=refused, full_strength_ms_median=round(1e3 * quantile(back, 0.5)), full_strength_ms_max=round(1e3 * max(back)))


def others(drill, gw, role, kills):
    load = Load('rate', gw.http, 'a.example', '/6', 1000, 600 + 5 * kills, 32)
    back, changes = [], []
    live = lambda i: gw.get('/', host=f'h{i}.example')[0] == 200
    try:
        for i in range(kills):
            victim = gw.pids(role)[0]
            os.kill(victim, signal.SIGKILL)
            start = time.monotonic()
            gw.write('more.json', [ingress('more', f'h{i}.example', 'web')])
            back.append(wait(lambda: any(p != victim for p in gw.pids(role))))
            wait(lambda: live(i))
            changes.append(time.monotonic() - start)
            # Dying within its first second would count as being unable to live, and its successor would be made to wait.
            time.sleep(max(0.0, start + 1.2 - time.monotonic()))
        result = load.finish()
    finally:
        load.stop()
    drill.need(result['failed'] == 0, result)
    drill.need(SHORT or max(changes) <= 5, f'a change after a kill took {max(changes):.1f} s')
    drill.done(kills=len(changes), requests=result['requests'], failed=result['failed'], p99_us=result['p99'], back_ms_max=round(1e3 * max(back)),
               change_live_ms_median=round(1e3 * quantile(changes, 0.5)), change_live_ms_max=round(1e3 * max(changes)))


def main():
    role = next((a for a in sys.argv[1:] if not a.startswith('-')), '')
    if role not in ('worker', 'agent', 'controlplane'):
        sys.exit(__doc__)
    kills = size(100, {'worker': 8, 'agent': 3, 'controlplane': 3}[role])
    drill = Drill(f'{role}-kill', f'{kills} kills under load')
    with Origin(1) as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], workers=2) as gw:
        if role == 'worker':
            workers(drill, gw, kills)
        else:
            others(drill, gw, role, kills)


if __name__ == '__main__':
    main()
