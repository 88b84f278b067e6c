"""The inputs' connections to the gateway, and what must hold for what comes back on them. How one ends: shut: our FIN right behind the bytes; wait: behind the last
answer; late: another good request first; drop: a reset at once."""
import socket
import time

from lib import hpack, raw_h2
from wire import h1, h2
from wire.loop import Connection
from wire.world import OWN_OF_ANSWERS

LOCAL = b'{"error":"'


def reason(body):
    return bytes(body).partition(b'"reason":"')[2].partition(b'"')[0].decode('latin-1')


def connect(port):
    sock = socket.socket()
    sock.connect(('127.0.0.1', port))
    return sock


class Client(Connection):
    """pieces: written one after the other. finished(self) once it is over."""

    def __init__(self, run, input, pieces, how):
        super().__init__(run.loop, connect(run.port))
        self.run, self.world, self.input, self.how = run, run.world, input, how
        self.pieces, self.sent, self.done, self.was_reset = list(pieces), False, False, False
        self.began, self.sent_at = time.monotonic(), None
        run.loop.later(run.patience, self.timeout)
        self.prepare()
        self.next_piece()

    def flag(self, what, detail=''):
        if what == 'lost' and self.stood_still():
            return self.world.counts.update(['too slow to judge'])
        return self.world.flag(what, self.input, detail)

    def stood_still(self):
        """The machine did, between two writes: the gateway's patience may have ended."""
        return (self.sent_at or time.monotonic()) - self.began > 1.5

    def next_piece(self):
        if self.done or self.over and not self.pieces:
            return
        if self.pieces:
            self.write(self.pieces.pop(0))
            if self.pieces:
                return self.run.loop.later(0.001, self.next_piece)
        self.sent = True
        self.sent_at = time.monotonic()
        if self.how == 'drop':
            self.reset()
            return self.finish()
        if self.how == 'shut':
            self.shut()
        self.look()

    def came(self, data):
        self.reader.feed(data)
        if self.reader.error is not None:
            return self.finish()
        self.look()

    def ended(self, reset):
        self.was_reset = reset
        self.finish()

    def timeout(self):
        if not self.done:
            self.silence()
            self.finish()

    def finish(self):
        if self.done:
            return
        self.done = True
        if self.how != 'drop':
            self.judge()
        self.close()
        self.run.finished(self)

    def silence(self):
        self.flag('lost', f'nothing more came: {self.state()}')


class H1(Client):
    closing = False

    def prepare(self):
        data = b''.join(self.pieces)
        self.model = h1.Reader(written=False).feed(data)
        self.preface = data.startswith(b'PRI * HTTP/2.0\r\n')  # HTTP/2's affair
        for m in self.model.messages:
            self.world.expect(self.input, m.method, m.target, m.host, m.body, m.fields, m.trailers, m.complete, False)
        # RFC 9110 9.3.2 holds for a head that is refused, too, if it says HEAD.
        methods = [m.method for m in self.model.messages] + [b'HEAD'] * self.model.first.startswith(b'HEAD ')
        self.reader = h1.Reader(answers=True, methods=methods)
        self.world.counts['well-formed requests'] += sum(m.complete for m in self.model.messages)

    def whole(self):
        return [m for m in self.model.messages if m.complete]

    def look(self):
        """Whether it is over on our side: all that can be answered is."""
        if not self.sent or self.over or self.how == 'shut' or self.shutting:
            return
        model = self.model
        idle = model.error is None and model.data in (b'', b'\r') and model.current is None
        answers = self.reader.messages
        if not idle and model.error is None and self.input.index % 8:
            # It waits for the rest. Mostly we do not wait for its patience to end.
            return None if self.closing else self.close_later()
        if not idle or len(answers) < len(model.messages) or (answers and not answers[-1].complete) or (answers and answers[-1].closes):
            return
        if self.how == 'late' and model.state == model.head and model.messages and not model.data:
            self.how = 'wait'
            target = b'/' + self.input.token + b'.late'
            more = b'GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n' % target
            model.feed(more)
            self.reader.methods[len(model.messages) - 1:] = [b'GET']
            self.world.expect(self.input, b'GET', target, (b'a.example', None), b'', model.messages[-1].fields, [], True, False)
            self.world.counts['well-formed requests'] += 1
            self.write(more)
            return
        self.shut()

    def close_later(self):
        self.closing = True
        self.run.loop.later(0.2, self.shut)

    def state(self):
        return f'{len(self.whole())} requests, {self.model.error}; {[(a.start, a.complete) for a in self.reader.messages]}'

    def judge(self):
        reader, asked = self.reader, self.model.messages
        answers, clean = reader.messages, reader.end()
        self.world.counts['answers'] += len(answers)
        if self.preface:
            return
        if reader.error is not None:
            return self.flag('answer', f'malformed: {reader.error}')
        if len(answers) > len(asked) + (self.model.error is not None or bool(self.model.data) or self.stood_still()):
            self.flag('answer', f'{len(answers)} answers to {len(asked)} requests')
        for i, a in enumerate(answers):
            marks = a.all(b'x-mark')
            if marks and i < len(asked):
                self.world.check_marked(self.input, marks[0], (asked[i].method, asked[i].target), a.status, a.body, a.complete)
                if not a.complete:
                    self.flag('answer', f'cut: {a.start}')
                if not asked[i].complete:
                    self.flag('answer', f'an origin answered what was not whole: {asked[i].start}')
            elif marks:
                self.flag('answer', f'an origin answered what was never asked: {a.fields}')
            elif a.status < 400:
                self.flag('answer', f'{a.status} of its own: {a.fields}')
            else:
                self.world.counts['answers of its own'] += 1
            if a.complete and (len(a.all(b'date')) != 1 or not h1.DATE.fullmatch(a.all(b'date')[0])):
                self.flag('answer', f'Date {a.all(b"date")}')
        if not clean and (reader.data or reader.current or asked and asked[-1].complete):  # an interim answer and then the end: it was no whole request
            self.flag('answer', f'cut: {self.state()} {bytes(reader.data)[:100]!r}')
        # Whoever is told to go, or said close, gets no more.
        if len(answers) < len(self.whole()) and not (answers and answers[-1].closes) and not self.was_reset and self.sent:
            self.flag('lost', f'{len(answers)} answers to {len(self.whole())} requests')


class H2(Client):
    def prepare(self):
        model = self.model = h2.Reader(server=True, written=False).feed(b''.join(self.pieces))
        half, tail = model.tail()
        for s in model.streams.values():
            # All that was announced has come: what comes behind it, or does not, takes nothing away from it.
            s.doubt |= s.fields is not None and s.length is not None and len(s.body) == s.length and (s.wrong is not None or not s.ended)
            if s.fields is not None and b':protocol' in s.pseudo:
                # A WebSocket (RFC 8441): an HTTP/1.1 origin hears a GET with Upgrade; bytes of the tunnel follow its 101, which never comes.
                self.world.expect(self.input, b'GET', s.target, s.host, b'', s.fields + [(b'sec-websocket-key', None)], [], s.wrong is None, True)
            elif s.fields is not None and not s.unforwardable and s.target is not None:
                doubt = s.doubt or (s.ended and model.doubt and s.wrong is None)
                self.world.expect(self.input, s.method, s.target, s.host, s.body + (tail if s.id == half else b''), s.fields, s.trailers, s.complete, doubt)
        self.world.counts['well-formed requests'] += sum(s.complete for s in model.streams.values())
        self.reader = h2.Reader(server=False, methods={n: s.method for n, s in model.streams.items()}, windows=1 << 40)
        self.reader.max_frame, self.reader.decoder.most = 1 << 24, 1 << 32  # what we announced is an input too

    def look(self):
        if not self.sent or self.over:
            return
        model, reader = self.model, self.reader
        if reader.goaway is not None and reader.goaway[1]:
            return self.finish()
        if model.error is None and len(reader.pongs) >= len(model.pings) and all(self.answered(n) for n in self.wanted()):
            self.finish()

    def wanted(self):
        """Streams whose answer must come."""
        return [n for n, s in self.model.streams.items() if s.complete and not s.doubt and s.reset is None and b':protocol' not in s.pseudo]

    def answered(self, number):
        got = self.reader.streams.get(number)
        return got is not None and (got.ended or got.reset is not None)

    def state(self):
        got = [(n, s.status, s.ended, s.reset) for n, s in self.reader.streams.items()]
        return (f'model {self.model.error}, doubt {self.model.doubt}; streams {self.wanted()}, answered {got}, pongs {len(self.reader.pongs)} of {len(self.model.pings)}, '
                f'GOAWAY {self.reader.goaway}')

    def silence(self):
        model = self.model
        if model.error is not None:
            self.flag('lenient', f'a connection error that it does not tell: {model.error}; {self.state()}')
        elif not model.doubt and model.goaway is None:
            self.flag('lost', f'nothing more came: {self.state()}')
        else:
            self.world.counts['silent, as may be'] += 1

    def judge(self):
        model, reader, world = self.model, self.reader, self.world
        if model.error == 'preface' or not model.begun:
            return  # no HTTP/2: what it is answered is HTTP/1.1's
        if reader.error is not None or reader.faults:
            return self.flag('answer', f'malformed: {reader.error} {reader.faults}')
        for number, s in reader.streams.items():
            asked = model.streams.get(number)
            if s.fields is None:
                continue
            world.counts['answers'] += 1
            marks = s.all(b'x-mark')
            if not marks:
                world.counts['answers of its own'] += 1
                if s.status < 400:
                    self.flag('answer', f'stream {number}: {s.status} of its own: {s.fields}')
            elif asked is not None and b':protocol' in asked.pseudo and s.status < 300:
                self.flag('answer', f'stream {number}: {s.status} says that there is a tunnel')  # RFC 8441 5
            elif asked is None or not (asked.complete or asked.doubt or model.doubt or b':protocol' in asked.pseudo):
                self.flag('answer', f'stream {number}: an origin answered what was not whole: {asked and asked.wrong}')
            else:
                method = b'GET' if b':protocol' in asked.pseudo else asked.method
                world.check_marked(self.input, marks[0], (method, asked.target), s.status, s.body, s.ended)
            if s.ended and (len(s.all(b'date')) != 1 or not h1.DATE.fullmatch(s.all(b'date')[0])):
                self.flag('answer', f'Date {s.all(b"date")}')
        if len(reader.pongs) > len(model.pings) and not model.doubt:
            self.flag('answer', f'{len(reader.pongs)} answers to {len(model.pings)} PINGs')
        told = self.over or reader.goaway is not None
        undisturbed = model.error is None and not model.doubt and model.goaway is None and model.between()
        if undisturbed and told and self.how == 'wait' and not all(self.answered(n) for n in self.wanted()):
            self.flag('lost', f'closed: {self.state()}')


class Asking:
    """What both versions have in common that ask a hostile origin, and a good one behind it."""

    def start(self, input, run):
        self.target, self.good = b'/%s.%d' % (input.token, run.again(input)), b'/' + input.token + b'.good'
        self.body = b'abc' if input.method == b'POST' else b''
        self.host = (b'bad1.example' if input.origin == 'h1' else b'bad2.example', None)
        run.hostile.inputs[self.target] = input
        self.attempts = run.hostile.attempts[self.target] = []
        run.world.expect(input, input.method, self.target, self.host, self.body, [], [], True, False)
        run.world.expect(input, b'GET', self.good, (b'a.example', None), b'', [], [], True, False)

    def judge_hostile(self, status, fields, body, trailers, interim, complete):
        """An answer of the gateway's own always may be; another one must be what an origin said, to its end."""
        world, value = self.world, lambda name: [v for n, v in fields if n == name]
        if value(b'x-mark'):
            if any(a.mark for a in self.attempts):
                return world.check_marked(self.input, value(b'x-mark')[0], (self.input.method, self.target), status, body, complete)
        if status >= 500 and complete and value(b'content-type') == [b'application/json'] and (body.startswith(LOCAL) or self.input.method == b'HEAD'):
            world.counts[f'answers of its own {status} {reason(body)}'] += 1
            return None
        if not complete:
            world.counts['cut answers'] += 1
            return None
        if any(a.muddled for a in self.attempts):
            return world.counts.update(['muddled'])
        why = 'no origin said anything'
        for attempt in self.attempts:
            if attempt.mark:
                continue
            whole = attempt.whole()
            if whole is None:
                why = f'the answer was not complete: {attempt.model.error}'
                continue
            no_body = self.input.method == b'HEAD' or status in (204, 304)
            if whole[0] != status or (b'' if no_body else whole[1]) != bytes(body):
                why = f'another answer: {whole[0]} {whole[1][:100]!r}'
            elif extra := [f for f in fields if f[0] not in OWN_OF_ANSWERS and f not in whole[2]] + [f for f in trailers if f not in whole[3]]:
                why = f'fields that it did not say: {extra}'
            elif extra := [i for i in interim if i not in whole[4]]:
                why = f'interim answers that it did not give: {extra}'
            else:
                return world.counts.update(['answers of an origin'])
        return self.flag('answer', f'{status} {bytes(body)[:100]!r} passes for whole: {why}; {fields}, marks {[a.mark for a in self.attempts]}')

    def judge_good(self, mark, status, body, complete):
        self.world.check_marked(self.input, mark, (b'GET', self.good), status, body, complete)


class AskingH1(Asking, Client):
    def __init__(self, run, input):
        self.start(input, run)
        length = b'Content-Length: 3\r\n' if self.body else b''
        asks = [b'%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n%s' % (input.method, self.target, self.host[0], length, self.body) +
                b'GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n' % self.good]
        Client.__init__(self, run, input, asks, 'wait')

    def prepare(self):
        self.reader = h1.Reader(answers=True, methods=[self.input.method, b'GET'])

    def look(self):
        """The gateway closes behind the second answer."""

    def state(self):
        return f'{[(a.start, a.complete) for a in self.reader.messages]}'

    def judge(self):
        answers, clean = self.reader.messages, self.reader.end() and not self.was_reset
        self.world.counts['answers'] += len(answers)
        if self.reader.error is not None or self.reader.data or self.reader.interim:
            return self.flag('answer', f'malformed: {self.reader.error} {bytes(self.reader.data)[:100]!r}')
        if not answers:
            return self.flag('lost', 'closed without an answer')
        a = answers[0]
        self.judge_hostile(a.status, a.fields, a.body, a.trailers, a.interim, a.complete)
        if len(answers) == 1 and a.complete and not a.closes and all(attempt.clean() for attempt in self.attempts):
            self.flag('lost', 'the second answer')
        if len(answers) > 1:
            b = answers[1]
            self.judge_good((b.all(b'x-mark') or [b''])[0], b.status, b.body, b.complete and clean)
        return None


class AskingH2(Asking, Client):
    def __init__(self, run, input):
        self.start(input, run)
        fields = raw_h2.request_fields(self.target, self.host[0], input.method)
        start = raw_h2.PREFACE + raw_h2.settings() + raw_h2.frame(raw_h2.SETTINGS, raw_h2.ACK)
        asks = start + raw_h2.headers(1, hpack.block(fields), not self.body) + (raw_h2.data(1, self.body, True) if self.body else b'')
        asks += raw_h2.headers(3, hpack.block(raw_h2.request_fields(self.good)))
        Client.__init__(self, run, input, [asks], 'wait')

    def prepare(self):
        self.reader = h2.Reader(server=False, methods={1: self.input.method, 3: b'GET'})

    def over_now(self, number):
        s = self.reader.streams.get(number)
        return s is not None and (s.ended or s.reset is not None)

    def look(self):
        if self.reader.faults or self.over_now(1) and self.over_now(3):
            self.finish()

    def state(self):
        return f'{[(n, s.status, s.ended, s.reset) for n, s in self.reader.streams.items()]}, GOAWAY {self.reader.goaway}'

    def judge(self):
        reader = self.reader
        if reader.error is not None or reader.faults:
            return self.flag('answer', f'malformed: {reader.error} {reader.faults}')
        self.world.counts['answers'] += len(reader.streams)
        if not self.over_now(1) or not self.over_now(3):
            return self.flag('lost', f'closed: {self.state()}')
        s, good = reader.streams[1], reader.streams[3]
        if s.status is not None:
            self.judge_hostile(s.status, [f for f in s.fields if f[0][:1] != b':'], s.body, s.trailers, s.interim, s.ended)
        else:
            self.world.counts['cut answers'] += 1
        self.judge_good((good.all(b'x-mark') or [b''])[0], good.status, good.body, good.ended)
        return None
