#!/usr/bin/env python3
"""Runs the test programs of one build folder and sums what they counted. Used by hack/test and .ci/run; prints a line a program and the time of each stage.
A program that prints no count of its own counts as one. A hang is a failure (each program has a bound), never a reason to wait for ever."""
import argparse
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))


# How test programs name what failed: GoogleTest, unittest, the case runners of tests/proxy.
FAILED = re.compile(r'^(?:\[  FAILED  \] ([\w/]+\.[\w/]+)|(?:FAIL|ERROR): (.+))', re.M)


def run(name, command, env, seconds, cwd):
    """(passed, failed, names of what failed)"""
    start = time.monotonic()
    # A session of its own: what a hanging program has started ends with it.
    p = subprocess.Popen(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, errors='replace', text=True, start_new_session=True)
    try:
        out, _ = p.communicate(timeout=seconds)
        code = p.returncode
    except subprocess.TimeoutExpired:
        os.killpg(p.pid, signal.SIGKILL)
        try:
            out, _ = p.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            out = '(somebody that it has started and that is in no group of it holds its output open)'
        code = f'no end after {seconds} s'
    finally:
        if p.poll() is None:  # we are told to end
            os.killpg(p.pid, signal.SIGKILL)
    passed, failed, skipped = count(out, code)
    print(f'{"ok  " if not failed else "FAIL"} {name}: {passed} passed, {failed} failed' + (f', {skipped} skipped' if skipped else '') + f' ({time.monotonic() - start:.1f} s)', flush=True)
    for reason in re.findall(r"\bskipped (['\"].*['\"])$", out, re.M):
        print(f'    skipped: {reason}', flush=True)
    if not failed:
        return passed, failed, []
    print('\n'.join('    ' + line for line in excerpt(out)), flush=True)
    if code not in (0, 1):
        print(f'    exit: {code}', flush=True)
    named = list(dict.fromkeys(m[1] or m[2] for m in FAILED.finditer(out)))
    return passed, failed, [f'{name}: {one}' for one in named] or [f'{name}: exit {code}']


def excerpt(out):
    """The lines worth showing: of GoogleTest each failed test's own, at most 60; of the others the end."""
    shown = []
    for block in re.split(r'^(?=\[ RUN      \])', out, flags=re.M)[1:]:
        name = block.split(' ] ', 1)[1].split('\n')[0]
        if re.search(rf'^\[       OK \] {re.escape(name)}\b|^\[  SKIPPED \] {re.escape(name)}\b', block, re.M):
            continue
        lines = block.rstrip().split('\n')
        shown += lines if len(lines) <= 60 else lines[:20] + ['...'] + lines[-40:]
    return shown[:600] or out.split('\n')[-120:]


def count(out, code):
    """What the program says: GoogleTest's summary, unittest's, or a last line `N passed, N failed`, which wins."""
    number = lambda pattern: sum(int(n) for n in re.findall(pattern, out, re.M))
    passed, failed = number(r'^\[  PASSED  \] (\d+) tests?\.'), number(r'^\[  FAILED  \] (\d+) tests?, listed below')
    skipped = number(r'^\[  SKIPPED \] (\d+) tests?, listed below')
    found = passed + failed + skipped > 0
    for m in re.finditer(r'^Ran (\d+) tests? in', out, re.M):
        passed, found = passed + int(m[1]), True
    for m in re.finditer(r'^(?:FAILED|OK) \((.*)\)$', out, re.M):
        bad = sum(int(n) for n in re.findall(r'(?:failures|errors|unexpected successes)=(\d+)', m[1]))
        left = sum(int(n) for n in re.findall(r'skipped=(\d+)', m[1]))
        passed, failed, skipped = max(0, passed - bad - left), failed + bad, skipped + left
    own = re.findall(r'^(\d+) passed, (\d+) failed$', out, re.M)
    if own:
        passed, failed, found = int(own[-1][0]), int(own[-1][1]), True
    if code != 0 and not failed:
        failed = 1
    if not found and code == 0:
        passed = 1
    return passed, failed, skipped


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--build', default=os.path.join(ROOT, 'build'))
    a.add_argument('--stages', default='unit,proxy,metrics,helm,cluster')
    a.add_argument('--match', default='', help='only programs whose name contains this')
    a.add_argument('--names', default='', help='only these test programs, by their whole names, comma-separated')
    a.add_argument('--timeout', type=int, default=900)
    o = a.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    env = dict(os.environ, SLUICE_BUILD=os.path.abspath(o.build), PYTHONUNBUFFERED='1', PYTHONWARNINGS='ignore::ResourceWarning')
    total, bad = [0, 0], []

    def add(result):
        total[0] += result[0]
        total[1] += result[1]
        bad.extend(result[2])

    for stage in o.stages.split(','):
        start = time.monotonic()
        if stage == 'unit':
            listed = json.loads(subprocess.run(['ctest', '--show-only=json-v1'], cwd=o.build, capture_output=True, text=True, check=True).stdout)
            names = {t['name'] for t in listed['tests']}
            wanted = set(o.names.split(',')) if o.names else names
            for unknown in sorted(wanted - names):
                print(f'FAIL {unknown}: no such test', flush=True)
                add((0, 1, [f'{unknown}: no such test']))
            for test in listed['tests']:
                if o.match in test['name'] and test['name'] in wanted:
                    if 'command' not in test or not os.path.exists(test['command'][0]):
                        print(f'FAIL {test["name"]}: not built', flush=True)
                        add((0, 1, [f'{test["name"]}: not built']))
                    else:
                        add(run(test['name'], test['command'], env, o.timeout, o.build))
        else:
            for path in sorted(glob.glob(os.path.join(ROOT, 'tests', stage, '*_test.py'))):
                name = os.path.relpath(path, ROOT)
                if o.match in name:
                    add(run(name, [sys.executable, path], env, max(o.timeout, 1500), ROOT))
        print(f'-- stage {stage}: {time.monotonic() - start:.0f} s', flush=True)
    for one in bad:
        print(f'FAILED {one}')
    print(f'{total[0]} passed, {total[1]} failed')
    sys.exit(1 if total[1] or not total[0] else 0)


if __name__ == '__main__':
    main()
