#!/usr/bin/env python3
"""Runs the test programs of one build folder and sums what they counted. Used by hack/test and .ci/run; prints a line a program and the time of each stage.
A program that prints no count of its own counts as one. A hang is a failure (each program has a bound), never a reason to wait for ever."""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))


def run(name, command, env, seconds, cwd):
    start = time.monotonic()
    try:
        p = subprocess.run(command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds, errors='replace', text=True)
        out, code = p.stdout, p.returncode
    except subprocess.TimeoutExpired as e:
        out, code = (e.stdout or b'').decode(errors='replace') if isinstance(e.stdout, bytes) else (e.stdout or ''), f'no end after {seconds} s'
    passed, failed = count(out, code)
    print(f'{"ok  " if not failed else "FAIL"} {name}: {passed} passed, {failed} failed ({time.monotonic() - start:.1f} s)', flush=True)
    if failed:
        print('\n'.join('    ' + line for line in out.split('\n')[-120:]), flush=True)
        if code not in (0, 1):
            print(f'    exit: {code}', flush=True)
    return passed, failed


def count(out, code):
    passed = failed = 0
    found = False
    for m in re.finditer(r'^\[  PASSED  \] (\d+) tests?\.', out, re.M):
        passed, found = passed + int(m[1]), True
    for m in re.finditer(r'^\[  FAILED  \] (\d+) tests?, listed below', out, re.M):
        failed, found = failed + int(m[1]), True
    m = re.findall(r'^Ran (\d+) tests? in', out, re.M)
    if m:
        bad = sum(int(x) for x in re.findall(r'(?:failures|errors)=(\d+)', out.split('\n')[-2] if out.endswith('\n') else out.split('\n')[-1]))
        skipped = sum(int(x) for x in re.findall(r'skipped=(\d+)', out))
        passed, failed, found = passed + int(m[-1]) - bad - skipped, failed + bad, True
    m = re.findall(r'^(\d+) passed, (\d+) failed$', out, re.M)
    if m:
        passed, failed, found = int(m[-1][0]), int(m[-1][1]), True
    if code != 0 and not failed:
        failed = 1
    if not found and code == 0:
        passed = 1
    return passed, failed


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--build', default=os.path.join(ROOT, 'build'))
    a.add_argument('--stages', default='unit,proxy,cluster')
    a.add_argument('--match', default='', help='only programs whose name contains this')
    a.add_argument('--names', default='', help='only these test programs, by their whole names, comma-separated')
    a.add_argument('--timeout', type=int, default=300)
    o = a.parse_args()
    env = dict(os.environ, SLUICE_BUILD=os.path.abspath(o.build))
    total = [0, 0]

    def add(result):
        total[0] += result[0]
        total[1] += result[1]

    for stage in o.stages.split(','):
        start = time.monotonic()
        if stage == 'unit':
            listed = json.loads(subprocess.run(['ctest', '--show-only=json-v1'], cwd=o.build, capture_output=True, text=True, check=True).stdout)
            names = {t['name'] for t in listed['tests']}
            wanted = set(o.names.split(',')) if o.names else names
            for unknown in sorted(wanted - names):
                print(f'FAIL {unknown}: no such test', flush=True)
                add((0, 1))
            for test in listed['tests']:
                if o.match in test['name'] and test['name'] in wanted:
                    if 'command' not in test or not os.path.exists(test['command'][0]):
                        print(f'FAIL {test["name"]}: not built', flush=True)
                        add((0, 1))
                    else:
                        add(run(test['name'], test['command'], env, o.timeout, o.build))
        else:
            for path in sorted(glob.glob(os.path.join(ROOT, 'tests', stage, '*_test.py'))):
                name = os.path.relpath(path, ROOT)
                if o.match in name:
                    add(run(name, [sys.executable, path], env, 1500 if stage == 'cluster' else max(o.timeout, 600), ROOT))
        print(f'-- stage {stage}: {time.monotonic() - start:.0f} s', flush=True)
    print(f'{total[0]} passed, {total[1]} failed')
    sys.exit(1 if total[1] or not total[0] else 0)


if __name__ == '__main__':
    main()
