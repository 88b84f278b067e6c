#!/usr/bin/env python3
"""The API server is away for ten minutes under load, and what changed meanwhile includes deletions. Nothing fails; back again it is spared the lists (the watches go on);
then it is away once more, forgets its history, and answers the lists half, empty of a version, and late: nothing is deleted that is there."""
import os
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import Drill, size  # noqa: E402
from drills.planes import ADDRESS, COLLECTIONS, Double, Planes, inside, total  # noqa: E402
from lib.gateway import CLASS, Load, Origin, ingress, service  # noqa: E402

AWAY = size(600, 5)
COUNT = size(1000, 100)


def host(i):
    return f'h{i}.example'


def main():
    drill = Drill('api-away', f'{AWAY} s without the API server at 500 requests/s, {COUNT} Ingresses; then bad lists')
    work = tempfile.mkdtemp(prefix='sluice-drill.')
    api = Double(work)
    with Origin(1, ADDRESS) as origin:
        api.put([CLASS] + service('web', origin.ports, address=ADDRESS) + [ingress(f'i{i}', host(i), 'web') for i in range(COUNT)])
        planes = Planes(api.kubeconfig)
        try:
            planes.read_ports()
            planes.until(lambda: planes.get(host=host(COUNT - 1))[0] == 200, 30, 'the first state answers')
            everyone = lambda but=(): [i for i in range(COUNT) if i not in but and planes.get(host=host(i))[0] != 200]
            load = Load('rate', planes.ports['http'], host(0), '/6', 500, AWAY + 900, 16)
            before = planes.metrics()
            api.command('down')
            begin = time.monotonic()
            time.sleep(AWAY / 2)
            api.put([ingress('new', 'new.example', 'web')])
            api.command('delete', path=COLLECTIONS['Ingress'], ns='default', name=f'i{COUNT - 1}')
            during_missing = everyone()  # the control plane knows nothing of it
            time.sleep(max(0.0, begin + AWAY - time.monotonic()))
            during = planes.metrics()
            api.command('requests')
            api.command('up')
            back = time.monotonic()
            planes.until(lambda: planes.get(host='new.example')[0] == 200 and planes.get(host=host(COUNT - 1))[0] == 404, size(65, 180), 'what changed meanwhile')
            in_sync = time.monotonic() - back
            requests = api.command('requests')['requests']
            lists = [r for r in requests if 'limit=' in r]
            drill.need(not during_missing, f'without the API server: {during_missing[:5]}')
            drill.need(not lists, f'lists after the return: {lists[:3]}')
            # Backoff 0.8 s doubling to 30 s with jitter: a kind tries about once in 30 to 60 s, and a bound well above that is kept.
            failures = total(during, 'sluice_controlplane_api_failures_total') - total(before, 'sluice_controlplane_api_failures_total')
            allowed = (len(COLLECTIONS) + 1) * (8 + AWAY / 25)
            drill.need(failures <= allowed, f'{failures} attempts in {AWAY} s, {allowed:.0f} allowed')
            drill.need(in_sync <= size(65, 180), f'in sync after {in_sync:.1f} s')
            # History lost and lists that lie.
            api.command('down')
            api.command('compact')
            for what in ('cut', 'no_version', 'garbage'):
                api.command('fault', on='list', what=what, path='', times=len(COLLECTIONS))
            api.command('pages', size=50)
            api.put([ingress('new', 'newer.example', 'web')])
            api.command('up')
            missing, rounds = [], 0
            end = time.monotonic() + size(45, 180)
            while time.monotonic() < end and planes.get(host='newer.example')[0] != 200:
                missing += everyone({COUNT - 1})
                rounds += 1
            drill.need(planes.get(host='newer.example')[0] == 200, 'the change after the bad lists did not come')
            drill.need(not missing, f'missing for a while: {missing[:5]}')
            result = load.finish()
            drill.need(result['failed'] == 0, result)
            drill.done(requests=result['requests'], failed=result['failed'], p99_us=result['p99'], attempts_while_away=int(failures), lists_after_return=len(lists),
                       in_sync_after_s=round(in_sync, 2), hosts_looked_at_during_bad_lists=rounds * (COUNT - 1), missing=len(missing))
        finally:
            planes.stop()
            shutil.rmtree(planes.work, ignore_errors=True)
            api.stop()
            shutil.rmtree(work, ignore_errors=True)


if __name__ == '__main__':
    inside(__file__)
    main()
