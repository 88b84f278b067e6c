#!/usr/bin/env python3
"""Fuzzes the running gateway from outside, over sockets (README.md: the wire). usage: run.py [--kind h1|h2|upstream]... [--seed N]... [--count N]; one input again:
run.py --kind K --seed S --index I [--show]. SLUICE_BUILD: the build to run (build)."""
import argparse
import collections
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for path in (os.path.join(HERE, '..', '..'), os.path.join(HERE, '..')):
    sys.path.insert(0, os.path.abspath(path))
from lib.gateway import CLASS, SLOW, Gateway, ingress, route, service, slurp  # noqa: E402
from wire import clients, inputs, origins  # noqa: E402
from wire.loop import Listener, Loop  # noqa: E402
from wire.world import World  # noqa: E402

IN_FLIGHT = 48
CONFIG = 'timeouts: {requestHeader: 3s, requestBodyIdle: 3s}'


class Run:
    """A list of inputs of one kind through a gateway."""

    def __init__(self, field, kind, todo):
        self.loop, self.port, self.world, self.hostile, self.patience = field.loop, field.gateway.http, World(), None, 30 * SLOW
        field.become(self)
        self.kind, self.todo, self.active, self.done = kind, iter(todo), set(), 0
        self.runs, self.open = collections.Counter(), collections.Counter()
        self.ended = False

    def start_next(self):
        """False: none is left."""
        input = next(self.todo, None)
        if input is None:
            self.ended = True
            return False
        self.start(input)
        return True

    def start(self, input):
        if input.kind == 'upstream':
            self.active.add((clients.AskingH1 if input.client == 'h1' else clients.AskingH2)(self, input))
            return
        make = clients.H1 if input.kind == 'h1' else clients.H2
        self.open[input.name] = len(input.connections)
        for pieces, how in input.connections:
            client = make(self, input, pieces, how)
            if not client.done:
                self.active.add(client)

    def again(self, input):
        self.runs[input.name] += 1
        return self.runs[input.name]

    def finished(self, client):
        self.active.discard(client)
        input = client.input
        if input.kind == 'upstream':
            # On a connection that had heard another input's bytes it was answered well: it has to be said to the gateway yet.
            said = any(not a.mark for a in client.attempts)
            if not said and self.runs[input.name] < 8:
                self.loop.later(0.03 * self.runs[input.name], lambda: self.start(input))
                return
            self.world.counts['inputs that were not said'] += not said
            self.done += 1
            return
        self.open[input.name] -= 1
        if not self.open[input.name]:
            del self.open[input.name]
            self.done += 1

    def go(self):
        begun = 0

        def more():
            nonlocal begun
            while not self.ended and begun - self.done < IN_FLIGHT and self.start_next():
                begun += 1
            return self.ended and begun == self.done
        self.loop.run(more)
        quiet = time.monotonic() + 0.3  # what is under way to the origins
        self.loop.run(lambda: time.monotonic() > quiet)
        return self.world


class Field:
    """The gateway with its origins; one worker, so that whoever is harmed is on it."""

    def __init__(self):
        self.loop, self.run = Loop(), None
        one = lambda make: Listener(self.loop, make)
        self.listeners = [one(lambda s: origins.H1(self.loop, s, self.run.world)), one(lambda s: origins.H2(self.loop, s, self.run.world)),
                          one(lambda s: origins.H1(self.loop, s, self.run.world, self.run.hostile.h1)), one(lambda s: origins.hostile_h2(self.loop, s, self.run.world, self.run.hostile))]
        ports = [listener.port for listener in self.listeners]
        objects = [CLASS] + service('one', ports[0:1]) + service('two', ports[1:2], protocol='kubernetes.io/h2c') + [ingress('any', '', 'one'), ingress('b', 'b.example', 'two')]
        objects += service('bad1', ports[2:3]) + service('bad2', ports[3:4], protocol='kubernetes.io/h2c')
        for name in ('bad1', 'bad2'):
            objects.append(route(name, [name + '.example'], [{'backendRefs': [{'name': name, 'port': 80}], 'timeouts': {'request': '4s', 'backendRequest': '1s'}}]))
        self.gateway = Gateway(objects, config=CONFIG, admin=False)

    def become(self, run):
        self.run = run
        run.hostile = origins.Hostile(self.loop, run.world)
        # Connections that the gateway keeps to the good origins go on, and are this run's now.
        for handler in self.loop.handlers.values():
            if isinstance(handler, (origins.H1, origins.H2)):
                handler.world = run.world

    def memory(self):
        return sum(int(slurp(f'/proc/{pid}/statm').split()[1]) * 4 for pid in self.gateway.pids('worker'))

    def fuzz(self, kind, seed, todo):
        """One line of what was seen, and what was wrong."""
        run, pids, before, began = Run(self, kind, todo), self.gateway.pids('worker'), self.memory(), time.monotonic()
        beside = subprocess.Popen([sys.executable, os.path.join(HERE, 'neighbours.py'), str(run.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            world = run.go()
            seconds = time.monotonic() - began
            beside.stdin.close()
            self.loop.run(lambda: beside.poll() is not None)
            neighbours = json.loads(beside.stdout.read())
        finally:
            if beside.poll() is None:
                beside.kill()
                beside.wait()
            beside.stdout.close()
        for wrong in neighbours['wrong'] or ([] if neighbours['alive'] else ['one of them was never answered']):
            world.flag('neighbour', None, wrong)
        if (now := self.gateway.pids('worker')) != pids or self.gateway.proc.poll() is not None:
            world.flag('worker', None, f'workers were {pids} and are {now}')
        report = slurp(self.gateway.log_path)
        if 'Sanitizer' in report or 'runtime error:' in report:
            world.flag('worker', None, report[max(0, report.find('Sanitizer') - 200):][:3000])
        del neighbours['wrong'], neighbours['alive']
        line = {'kind': kind, 'seed': seed, 'inputs': run.done, 'seconds': round(seconds, 1), **dict(sorted(world.counts.items())),
                'neighbours': neighbours, 'worker_growth_kib': self.memory() - before}
        return line, world.wrong

    def __enter__(self):
        return self

    def __exit__(self, *how):
        self.gateway.__exit__(*how)
        self.loop.close()


def fuzz(kinds, seeds, count, indices=None, tell=print):
    """Everything that was wrong, as text."""
    out = []
    with Field() as field:
        for seed in seeds:
            for kind in kinds:
                line, wrong = field.fuzz(kind, seed, (inputs.make(kind, seed, i) for i in indices or range(count)))
                tell(json.dumps(line))
                found = [f'{what}: {name}: {detail}' for what, name, detail in wrong]
                for one in found[:50]:
                    tell(f'wrong: {one}')
                out += found
    return out


def main():
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument('--kind', action='append', choices=inputs.KINDS)
    a.add_argument('--seed', action='append', type=int)
    a.add_argument('--count', type=int, default=1500)
    a.add_argument('--index', type=int, action='append')
    a.add_argument('--show', action='store_true', help='prints the input')
    o = a.parse_args()
    kinds, seeds = o.kind or list(inputs.KINDS), o.seed or [1]
    if o.show:
        for i in o.index:
            print(inputs.make(kinds[0], seeds[0], i))
    wrong = fuzz(kinds, seeds, o.count, o.index, lambda text: print(text, flush=True))
    print(f'{len(wrong)} wrong')
    sys.exit(1 if wrong else 0)


if __name__ == '__main__':
    main()
