"""The other side of the gateway: origins that keep strictly to what was forwarded, and answer well, or (Hostile) with the bytes of an input."""
from lib import hpack, raw_h2
from lib.raw_h2 import ACK, SETTINGS
from wire import h1, h2
from wire.loop import Connection


class H1(Connection):
    def __init__(self, loop, sock, world, script=None):
        super().__init__(loop, sock)
        self.world, self.script = world, script
        self.reader, self.seen, self.spoiled = h1.Reader(), 0, None
        world.counts['connections to origins'] += 1

    def came(self, data):
        self.reader.feed(data)
        messages = self.reader.messages
        while self.seen < len(messages) and messages[self.seen].complete:
            message = messages[self.seen]
            self.seen += 1
            if self.reader.data and self.reader.error is None or len(messages) > self.seen:
                self.world.flag('forwarded', None, f'bytes behind {message.start} before its answer: {bytes(self.reader.data)[:200]!r}')
            self.request(message)
        if self.reader.error is not None:
            self.world.flag('forwarded', None, f'malformed: {self.reader.error}, behind {[m.start for m in messages[-2:]]}')
            self.close()
        elif len(messages) > 4 and self.seen == len(messages):
            del messages[:]
            self.seen = 0

    def ended(self, reset):
        if (message := self.reader.current) is not None:
            self.world.forwarded(message.method, message.target, message.host, message.fields, message.body, message.trailers, complete=False)
        elif self.reader.data:
            self.world.flag('forwarded', None, f'half a head: {bytes(self.reader.data)[:200]!r}')
        self.close()

    def request(self, message):
        if self.script:
            return self.script(self, message)
        self.world.forwarded(message.method, message.target, message.host, message.fields, message.body, message.trailers)
        self.good(message)

    def good(self, message, close=False):
        _, status, fields, body, length = self.world.answer(message.method, message.target)
        fields += [(b'Connection', b'close')] * close
        head = b'HTTP/1.1 %d x\r\n' % status + b''.join(b'%s: %s\r\n' % f for f in fields)
        if status in (204, 304):
            out = head + b'\r\n'
        elif length or message.method == b'HEAD':
            out = head + b'Content-Length: %d\r\n\r\n' % len(body) + (body if message.method != b'HEAD' else b'')
        else:
            out = head + b'Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n' % (len(body), body)
        self.write(out)


class H2(Connection):
    def __init__(self, loop, sock, world, script=None, settings=()):
        super().__init__(loop, sock)
        self.world, self.script = world, script
        self.reader, self.acked, self.pinged = h2.Reader(server=True), False, 0
        self.begin = raw_h2.settings(*settings)
        self.told, self.judged = set(), set()  # streams that were answered; cut ones that were looked at
        world.counts['connections to origins'] += 1
        self.write(self.begin)

    def came(self, data):
        reader = self.reader
        reader.feed(data)
        out = b''
        if reader.settled and not self.acked:
            self.acked, out = True, raw_h2.frame(SETTINGS, ACK)
        while self.pinged < len(reader.pings):
            out += raw_h2.ping(reader.pings[self.pinged], True)
            self.pinged += 1
        if reader.lost:
            out += raw_h2.window_update(0, reader.lost)
            reader.window += reader.lost
            reader.lost = 0
        if out:
            self.write(out)
        while reader.new:
            self.request(reader.new.pop(0))
        for number in [n for n, s in reader.streams.items() if s.reset is not None and not s.ended]:
            self.cut(reader.streams.pop(number))
        if len(reader.streams) > 300:  # the newest may still be spoken of
            for number in [n for n, s in reader.streams.items() if s.ended][:-100]:
                del reader.streams[number]
        if reader.error is not None or reader.faults:
            self.world.flag('forwarded', None, f'malformed HTTP/2: {reader.error} {reader.faults}')
            self.close()

    def cut(self, stream):
        if stream.fields is not None:
            self.world.forwarded(stream.method, stream.target, stream.host, stream.fields, stream.body, stream.trailers, complete=False)

    def ended(self, reset):
        for stream in self.reader.streams.values():
            if not stream.ended:
                self.cut(stream)
        self.close()

    def request(self, stream):
        if self.script:
            return self.script(self, stream)
        self.world.forwarded(stream.method, stream.target, stream.host, stream.fields, stream.body, stream.trailers)
        self.write(self.good(stream))

    def good(self, stream):
        _, status, fields, body, length = self.world.answer(stream.method, stream.target)
        fields = [(b':status', b'%d' % status)] + fields + ([(b'content-length', b'%d' % len(body))] if length and body else [])
        end = not body or stream.method == b'HEAD'
        return raw_h2.headers(stream.id, hpack.block(fields), end) + (b'' if end else raw_h2.data(stream.id, body, True))


class Attempt:
    """What an origin said to one arrival of a request. model: how a strict reader takes it; stream: of HTTP/2. mark: it was answered well;
    muddled: while bytes for another one were still being said, so that they may have answered this one."""

    def __init__(self, model=None, stream=1, mark=None, muddled=False):
        self.model, self.stream, self.mark, self.muddled = model, stream, mark, muddled

    def whole(self):
        """(status, body, fields, trailers, interim) of an answer that the origin completed, or None."""
        if isinstance(self.model, h1.Reader):
            m = self.model.messages[0] if self.model.messages else None
            return (m.status, bytes(m.body), m.fields, m.trailers, m.interim) if m and m.complete else None
        s = self.model.streams.get(self.stream)
        if s is not None and s.fields is not None and self.model.bodiless(s):
            return s.status, b'', s.fields, s.trailers, s.interim  # the head is all of it
        half, tail = self.model.tail()
        if s is not None and s.fields is not None and s.length is not None and len(body := s.body + (tail if half == s.id else b'')) >= s.length:
            return s.status, bytes(body[:s.length]), s.fields, s.trailers, s.interim  # all that was announced
        if s is None or s.fields is None or not s.ended or (s.wrong is not None and not s.doubt):
            return None
        return s.status, bytes(s.body), s.fields, s.trailers, s.interim

    def clean(self):
        """The answer was complete, and the connection did not suffer behind it."""
        if self.mark:
            return True
        s = None if isinstance(self.model, h1.Reader) else self.model.streams.get(self.stream)
        return self.model.error is None and (self.whole() is not None if s is None else s.complete and not s.doubt)

    def told(self):
        s = self.model.streams.get(self.stream) if isinstance(self.model, h2.Reader) else None
        return self.mark, self.stream, self.model and self.model.error, s and (s.status, s.ended, s.reset), isinstance(self.model, h2.Reader) and self.model.goaway

    def untouched(self):
        """The request was surely not processed, so it may be sent again (RFC 9113 8.7)."""
        if self.model is None or isinstance(self.model, h1.Reader):
            return False
        s = self.model.streams.get(self.stream)
        return (s is not None and s.reset == 7) or (self.model.goaway is not None and self.model.goaway[0] < self.stream)


class Hostile:
    """Answers what asks for an input (its target) with the input's bytes; a second arrival, and what comes on a connection that has heard such bytes, well."""

    def __init__(self, loop, world):
        self.loop, self.world, self.inputs, self.attempts = loop, world, {}, {}

    def arrival(self, conn, message):
        """(input, first) or None: nobody asked for it."""
        key = message.target
        if key not in self.inputs:
            self.world.flag('forwarded', None, f'{message.method} {key}: nobody asked for it')
            return None
        input, attempts = self.inputs[key], self.attempts[key]
        self.world.forwarded(message.method, message.target, message.host, message.fields, message.body, message.trailers)
        for meant in self.world.meant[message.method, message.target]:
            meant.taken = False  # a retry is judged here
        if attempts and message.method == b'POST' and not attempts[-1].untouched():
            self.world.flag('forwarded', input, f'a POST that had arrived came again: {[a.told() for a in attempts]}')
        return input, not attempts

    def h1(self, conn, message):
        if (found := self.arrival(conn, message)) is None:
            return conn.close()
        input, first = found
        if conn.spoiled is not None:
            before, model = conn.spoiled
            usable = model.error is None and not model.data and len(model.messages) == 1 and model.messages[0].complete and not model.messages[0].closes and not model.interim
            if before.how == 'close':
                return None
            if not usable:
                self.world.flag('forwarded', before, f'its connection was used again although it was poisoned: {model.error} {bytes(model.data)[:100]!r}')
            self.world.counts['connections used again'] += 1
        if conn.spoiled is not None or not first:
            self.attempts[message.target].append(Attempt(mark=True))
            return conn.good(message, close=conn.spoiled is not None)
        model = h1.Reader(answers=True, written=False, methods=[message.method]).feed(b''.join(input.pieces))
        if input.how == 'close':
            model.end()
        conn.spoiled = (input, model)
        self.attempts[message.target].append(Attempt(model))
        self.say(conn, list(input.pieces), input.how, input.index)

    def h2(self, conn, stream):
        if conn.leaving:
            return None  # behind our GOAWAY: not looked at
        if (found := self.arrival(conn, stream)) is None:
            return conn.close()
        input, first = found
        if conn.spoiled is None:
            conn.model = h2.Reader(server=False, written=False).feed(conn.begin)
        conn.model.methods[stream.id] = stream.method
        if conn.spoiled is not None or not first:
            if conn.spoiled is not None:
                if conn.spoiled.how == 'close':
                    return None
                self.world.counts['connections used again'] += 1
            answer = conn.good(stream) + (raw_h2.goaway(stream.id) if conn.spoiled is not None else b'')
            conn.leaving = conn.spoiled is not None
            conn.spoiled = conn.spoiled or input
            conn.model.feed(answer)
            self.attempts[stream.target].append(Attempt(conn.model, stream.id, True, muddled=conn.saying))
            return conn.write(answer)
        conn.spoiled = input
        # What an origin announces changes what it may be sent.
        conn.reader.max_frame, conn.reader.decoder.most, conn.reader.window = 1 << 24, 1 << 32, 1 << 40
        conn.model.feed(b''.join(input.pieces))
        self.attempts[stream.target].append(Attempt(conn.model, stream.id))
        self.say(conn, list(input.pieces), input.how, input.index)

    def say(self, conn, pieces, how, index):
        conn.saying = False
        if pieces:
            conn.write(pieces.pop(0))
            conn.saying = bool(pieces)
            if pieces:
                self.loop.later(0.001, lambda: self.say(conn, pieces, how, index))
                return
        if how == 'close':
            conn.shut()
        elif how == 'reset':
            conn.reset()
        else:
            # Some outlast the gateway's patience; the others give way, or all that is asked would meet such connections. A reset: a FIN could complete an answer.
            self.loop.later(2.5 if index % 8 == 0 else 0.3, conn.reset)


def hostile_h2(loop, sock, world, hostile):
    conn = H2(loop, sock, world, hostile.h2, settings=[(raw_h2.MAX_CONCURRENT_STREAMS, 1)])
    conn.spoiled = conn.model = None
    conn.saying = conn.leaving = False
    return conn
