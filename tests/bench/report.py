"""Samples of bench.py as Markdown. A sample is one round: every proxy measured once, one after the other; so ratios are taken inside a round and their
median's 95 % interval comes from resampling rounds (bootstrap, fixed seed)."""
import random
import statistics

import amplify
import protocols

OWN = ('sluice', 'relay')


def median_interval(values, draws=4000):
    rng = random.Random(1)
    n = len(values)
    got = sorted(statistics.median(rng.choices(values, k=n)) for _ in range(draws))
    return statistics.median(values), got[int(0.025 * draws)], got[int(0.975 * draws) - 1]


def paired(samples, key, a, b):
    """Median of a / b over the rounds that have both, with its interval."""
    ratios = [s[a][key] / s[b][key] for s in samples if a in s and b in s and s[b][key]]
    if not ratios:
        return '-'
    if len(ratios) < 3:
        return f'{statistics.median(ratios):.2f}'
    m, low, high = median_interval(ratios)
    return f'{m:.3f} ({low:.3f}-{high:.3f})' if len(ratios) >= 5 else f'{m:.2f} ({low:.2f}-{high:.2f})'


def names_of(samples):
    return list(dict.fromkeys(n for s in samples for n in s))


def medians(samples, key):
    return {n: statistics.median(s[n][key] for s in samples if n in s) for n in names_of(samples)}


def best_peer(med):
    rivals = {n: v for n, v in med.items() if n.split('+')[0] not in OWN}
    return min(rivals, key=rivals.get) if rivals else None


def cpu_table(title, samples, unit='request', goal=None):
    med = medians(samples, 'us')
    best = best_peer(med) or names_of(samples)[0]
    print(f'\n### {title}; {len(samples)} rounds\n')
    if goal and 'sluice' in med:
        print(f'Goal: <= {goal[0]:.2f} x {goal[1]}; measured: {paired(samples, "us", "sluice", best)} x {best}.\n')
    print(f'| proxy | CPU us/{unit} | min-max | / relay | / {best}, paired (95 %) | upstream connections | failed | terms |\n|---|---|---|---|---|---|---|---|')
    for n in names_of(samples):
        mine = [s[n] for s in samples if n in s]
        us = [m['us'] for m in mine]
        relay = f'{med[n] / med["relay"]:.2f}' if 'relay' in med else '-'
        held = statistics.median(m.get('upstream', 0) for m in mine)
        terms = next((m['terms'] for m in mine if m.get('terms')), '')
        print(f'| {n} | {med[n]:.2f} | {min(us):.2f}-{max(us):.2f} | {relay} | {paired(samples, "us", n, best)} | {held:.0f} | {sum(m["failed"] for m in mine)} | {terms} |')


def latency_table(rate, samples):
    print(f'\n### Latency at {rate} requests/s (40 % of nginx\'s peak), us from the scheduled time; median of {len(samples)} paired rounds')
    print('\n| proxy | p50 | p90 | p99 | p99.9 | failed |\n|---|---|---|---|---|---|')
    keys = ('p50', 'p90', 'p99', 'p999')
    med = {k: medians(samples, k) for k in keys}
    for n in names_of(samples):
        print(f'| {n} | ' + ' | '.join(f'{med[k][n]:.0f}' for k in keys) + f' | {sum(s[n]["failed"] for s in samples if n in s)} |')
    print('\n| sluice, paired (95 %) | p50 | p90 | p99 |\n|---|---|---|---|')
    for n in names_of(samples):
        if n != 'sluice' and 'sluice' in med['p50']:
            print(f'| / {n} | ' + ' | '.join(paired(samples, k, 'sluice', n) for k in keys[:3]) + ' |')


def memory_table(samples):
    print('\n### Memory per idle keep-alive connection (1000 held; PSS of all processes)\n\n| proxy | idle PSS MiB | plain KiB | TLS KiB |\n|---|---|---|---|')
    for n in names_of(samples):
        mine = [s[n] for s in samples if n in s]
        mid = lambda k: f'{statistics.median(m[k] for m in mine):.2f}' if k in mine[0] else '-'
        print(f'| {n} | {mid("idle")} | {mid("plain")} | {mid("tls")} |')


def syscall_table(samples):
    print('\n### System calls per GET 128 B, 32 connections (all processes)\n\n| proxy | per request | of them |\n|---|---|---|')
    for n, calls in samples[-1].items():
        top = ', '.join(f'{k} {v:.2f}' for k, v in sorted(calls.items(), key=lambda x: -x[1])[:6])
        print(f'| {n} | {sum(calls.values()):.2f} | {top} |')


def show(data, rows):
    meta = data['meta']
    print(f'{meta.get("started", "?")}; load average when each piece began: {", ".join(str(x) for x in meta.get("load", []))}\n')
    for n, version in meta.get('versions', {}).items():
        print(f'- {n}: {version}')
    for row, samples in data['rows'].items():
        if row in protocols.ROWS:
            cpu_table(rows[row][0], samples, protocols.ROWS[row].unit, protocols.ROWS[row].goal)
        elif row in rows:
            cpu_table(rows[row][0], samples)
        elif row in protocols.HELD:
            protocols.held_table(row, samples)
        elif row == protocols.SPREAD:
            protocols.spread_table(samples)
        elif row == 'latency':
            latency_table(meta.get('rate', '?'), samples)
        elif row == 'memory':
            memory_table(samples)
        elif row == 'syscalls':
            syscall_table(samples)
        elif row == 'amplification':
            amplify.table(samples)
