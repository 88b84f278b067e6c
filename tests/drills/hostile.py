#!/usr/bin/env python3
"""Objects that are wrong, huge or malicious, one after the other beside 10,000 good Ingresses: only they are refused, with a word that names them; every other host answers as
before, the next change gets through; the time of a regular expression is linear in the path."""
import json
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import Drill, size  # noqa: E402
from lib.gateway import CLASS, Gateway, Origin, ingress, make_certificate, route, service, slurp, tls_secret  # noqa: E402

COUNT = size(10000, 300)


def regex(name, value):
    return route(name, [f'{name}.bad.example'], [{'matches': [{'path': {'type': 'RegularExpression', 'value': value}}], 'backendRefs': [{'name': 'web', 'port': 80}]}])


def edited(obj, **spec):
    obj['spec'].update(spec)
    return obj


def cases(work):
    """(name, objects or raw bytes of a file, the name that the log must say or None where the object is valid)."""
    pair, other = make_certificate(work, 'one.bad.example'), make_certificate(work, 'two.bad.example')
    garbage = tls_secret('garbage', *pair)
    garbage['data']['tls.crt'] = 'bm90IGEgY2VydGlmaWNhdGU='
    hosts = lambda count: [{'host': f'many{i}.bad.example', 'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': 'web', 'port': {'number': 80}}}}]}}
                           for i in range(count)]
    backend = {'service': {'name': 'web', 'port': {'number': 80}}}
    yield 'regex that is none', [regex('re-broken', '/(unclosed')], 're-broken'
    yield 'regex too large', [regex('re-large', '/((a{1,100}){1,100}){1,100}')], 're-large'
    yield 'regex of 100 KiB', [regex('re-long', '/' + '(a|b)' * 20000)], 're-long'
    yield 'annotation of 1 MiB', [ingress('annotated', 'annotated.bad.example', 'web', annotations={'sluice.dev/nothing': 'x' * (1 << 20)})], None
    yield 'duplicate path', [ingress('zz-thief', 'h5.example', 'absent')], 'zz-thief'
    yield 'host of another namespace', [ingress('zz-other', 'h6.example', 'web', ns='other')] + service('web', [1], ns='other'), 'zz-other'
    yield 'Secret missing', [ingress('secretless', 'secretless.bad.example', 'web', tls='no-such-secret')], 'no-such-secret'
    yield 'certificate that is none', [garbage, ingress('garbage', 'garbage.bad.example', 'web', tls='garbage')], 'garbage'
    yield 'key of another certificate', [tls_secret('mixed', pair[0], other[1]), ingress('mixed', 'mixed.bad.example', 'web', tls='mixed')], 'mixed'
    yield '2,000 rules in one Ingress', [edited(ingress('many', '', 'web'), rules=hosts(2000))], None
    yield 'rules that are a string', [edited(ingress('stringy', '', 'web'), rules='none')], 'stringy'
    yield 'port that is none', [edited(ingress('port', '', 'web'), rules=[{'host': 'port.bad.example', 'http': {'paths': [
        {'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': 'web', 'port': {'number': -1}}}}]}}])], 'port'
    yield 'controls in host and path', [edited(ingress('controls', '', 'web'), rules=[{'host': 'a\r\nb', 'http': {'paths': [{'path': '/\x01', 'pathType': 'Exact', 'backend': backend}]}}])], 'controls'
    yield 'name that climbs', [ingress('../../etc/passwd', 'climb.bad.example', 'web')], None
    yield 'header with a line break', [route('split', ['split.bad.example'], [{'filters': [{'type': 'ResponseHeaderModifier', 'responseHeaderModifier': {'set': [
        {'name': 'x-a', 'value': 'b\r\nx-c: d'}]}}], 'backendRefs': [{'name': 'web', 'port': 80}]}])], 'split'
    yield 'bytes that are no UTF-8', bytes(range(128, 256)) * 64, 'hostile'
    yield 'nested 100,000 deep', b'[' * 100000, 'hostile'
    yield 'aliases that multiply', b'a: &a [x,x,x,x,x,x,x,x,x]\n' + b''.join(b'%c: &%c [%s]\n' % (98 + i, 98 + i, b','.join([b'*%c' % (97 + i)] * 9)) for i in range(9)), 'hostile'


def main():
    drill, rng = Drill('hostile-objects', f'beside {COUNT} good Ingresses'), random.Random(7)
    with Origin(1) as origin:
        good = [CLASS] + service('web', origin.ports) + [ingress(f'i{i}', f'h{i}.example', 'web') for i in range(COUNT)] + [regex('linear', '/(a+)+$')]
        with Gateway(good) as gw:
            def wrong(indices):
                return [i for i in indices if gw.get('/', host=f'h{i}.example')[0] != 200]
            gw.until(lambda: gw.get('/', host=f'h{COUNT - 1}.example')[0] == 200, what='the good ones')
            tried, slowest, changed = [], 0.0, 0
            for number, (name, objects, said) in enumerate(cases(gw.work)):
                path, mark = os.path.join(gw.folder, 'hostile.json'), len(slurp(gw.log_path))
                data = objects if isinstance(objects, bytes) else json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': objects}).encode()
                with open(path + '.tmp~', 'wb') as f:
                    f.write(data)
                os.rename(path + '.tmp~', path)
                time.sleep(0.05)
                start = time.monotonic()
                gw.write('probe.json', [ingress('probe', 'probe.example', 'web', path=f'/v{number}')])
                gw.until(lambda: gw.get(f'/v{number}', host='probe.example')[0] == 200, 30, f'a change beside: {name}')
                slowest = max(slowest, time.monotonic() - start)
                bad = wrong({5, 6, *rng.sample(range(COUNT), 100)})
                changed += len(bad)
                drill.need(not bad, f'{name}: {bad[:5]} answer otherwise')
                if said:
                    try:
                        gw.until(lambda: said in slurp(gw.log_path)[mark:], 10, 'said')
                    except AssertionError:
                        drill.need(False, f'{name}: nothing in the log names {said}')
                tried.append(name)
            bad = wrong(range(COUNT))
            changed += len(bad)
            drill.need(not bad, f'at the end: {bad[:5]} answer otherwise')
            times = []
            for length in (500, 4000):
                start = time.monotonic()
                for _ in range(20):
                    status = gw.get('/' + 'a' * length + '!', host='linear.bad.example')[0]
                    drill.need(status == 404, f'the regular expression: {status}')
                times.append((time.monotonic() - start) / 20)
            # A backtracking matcher would take 2^4000 steps; a wide bound tells that from noise.
            drill.need(times[1] < size(1, 30), f'a path of 4,000 bytes took {times[1]:.2f} s')
            drill.need(len(gw.pids('controlplane')) == 1 and 'worker died' not in slurp(gw.log_path) and 'the control plane ended' not in slurp(gw.log_path), 'a process died')
            drill.done(good=COUNT, kinds=len(tried), others_that_changed=changed, slowest_change_beside_one_ms=round(1e3 * slowest),
                       regex_500_and_4000_bytes_ms=[round(1e3 * t, 2) for t in times])


if __name__ == '__main__':
    main()
