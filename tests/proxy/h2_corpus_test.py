#!/usr/bin/env python3
"""Every case of h2_cases.txt on the wire: frames put together by hand, strict readers at both sides (tests/lib/raw_h2.py, raw_http.py). HTTP/2 clients' cases before an
HTTP/1.1 and before an HTTP/2 upstream; an HTTP/2 upstream's cases with an HTTP/2 and with an HTTP/1.1 client. Against a gateway that runs already:
H2_GATEWAY=HOST:PORT and H2_UPSTREAM=PORT (HTTP/1.1) or H2C_UPSTREAM=PORT (it must send everything there). One case only: H2_CASE=ID."""
import os
import socket
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, '..'))
import h2_cases  # noqa: E402
from h1_cases import unescape  # noqa: E402
from lib import raw_h2, raw_http  # noqa: E402
from lib.gateway import CLASS, PATIENCE, Gateway, ingress, service  # noqa: E402
from lib.raw_h2 import Client, Ended, Upstream  # noqa: E402

CASES = h2_cases.read(os.path.join(HERE, 'h2_cases.txt'))
# How long nothing has to happen where nothing should: the upstream gets nothing.
QUIET = 0.03


class Fail(Exception):
    pass


def need(good, text):
    if not good:
        raise Fail(text)


class Got:
    """A message as it came, by whichever version."""

    def __init__(self, message):
        if isinstance(message, raw_http.Message):
            self.start, self.fields, self.body, self.trailers, self.interim = message.start, message.fields, message.body, message.trailers, message.interim
            self.host = message.all(b'host')
        else:
            pseudo = dict(field for field in message.fields if field[0].startswith(b':'))
            self.start = (pseudo[b':method'], pseudo[b':path']) if b':method' in pseudo else (int(pseudo[b':status']),)
            self.fields = [field for field in message.fields if not field[0].startswith(b':')]
            # RFC 9113 8.2.3: crumbs are one field for whoever is not HTTP/2.
            if crumbs := [v for n, v in self.fields if n == b'cookie']:
                self.fields = [field for field in self.fields if field[0] != b'cookie'] + [(b'cookie', b'; '.join(crumbs))]
            self.body, self.trailers, self.interim = bytes(message.body), message.trailers, message.interim
            self.host = [pseudo[b':authority']] if b':authority' in pseudo else self.all(b'host')

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]


def check_details(outcome, got):
    body = b''
    for word, rest in outcome.details:
        raw = unescape(rest)
        name, _, value = raw.partition(b':')
        value = value[1:]
        trailers = [(n.lower(), v) for n, v in got.trailers]
        if word == 'host':
            need(got.host == [raw], f'host {got.host}')
        elif word == 'field':
            need(value in got.all(name), f'{raw[:100]!r} missing: {got.all(name)} of {got.fields}')
        elif word == 'no-field':
            # Content-Length: 0 says the same as nothing, and the gateway may say it.
            need([v for v in got.all(raw) if (raw.lower(), v) != (b'content-length', b'0')] == [], f'{rest} is there: {got.all(raw)}')
        elif word == 'trailer':
            need((name.lower(), value) in trailers, f'trailer {rest} missing: {trailers}')
        elif word == 'no-trailer':
            need(raw.lower() not in [n for n, _ in trailers], f'trailer {rest} is there')
        elif word == 'length':
            need(got.all(b'content-length') == [raw], f'content-length {got.all(b"content-length")}')
        elif word == 'body':
            body = raw
        elif word == 'interim':
            need(int(rest) in got.interim, f'interim {got.interim}')
        elif word == 'no-interim':
            need(int(rest) not in got.interim, f'interim {got.interim}')
    need(got.body == body, f'body {got.body[:100]!r}')


def write_frames(conn, stream, frames):
    """As an HTTP/2 peer says them: the last one that can has END_STREAM, unless `open` says that none has."""
    ends = [i for i, (word, what) in enumerate(frames) if word in ('head', 'data', 'trailers') or (word == 'frame' and what[0] == raw_h2.DATA)]
    marked = {i for i, (word, _) in enumerate(frames) if word == 'end'}
    last = {i - 1 for i in marked} | (set() if any(word == 'open' for word, _ in frames) or not ends or ends[-1] + 1 in marked else {ends[-1]})
    pieces = []
    for i, (word, what) in enumerate(frames):
        if word in ('head', 'trailers'):
            pieces += raw_h2.header_frames(stream, what, i in last)
        elif word == 'data':
            pieces.append(raw_h2.data(stream, what, i in last))
        elif word == 'frame':
            kind, flags, payload = what
            pieces.append(raw_h2.frame(kind, flags, stream, payload))
        elif word == 'reset':
            pieces.append(raw_h2.reset(stream, what))
    conn.send(*pieces)
    if any(word == 'close' for word, _ in frames):
        conn.sock.shutdown(socket.SHUT_WR)


class Runner:
    """upstream: RawUpstream or Upstream; the gateway sends everything there."""

    def __init__(self, host, port, upstream):
        self.host, self.port, self.upstream = host, port, upstream
        self.h2 = isinstance(upstream, Upstream)

    def clients(self, case):
        """What to run a case with here."""
        if case.kind == 'request':
            return [self.run_request]
        if case.kind == 'upgrade':
            return [self.run_upgrade] if self.h2 else []
        if case.kind == 'answer':
            return [] if self.h2 else [self.run_answer_h2]
        return [self.run_answer_h2, self.run_answer_h1] if self.h2 else []

    def script(self, case):
        if case.kind == 'answer':
            self.upstream.script(case.answers, case.eof)
        elif case.kind == 'reply':
            # What the gateway makes of it is looked at on the client's side; that it takes its request back is its right.
            self.upstream.script(lambda conn, stream: write_frames(conn, stream.id, case.replies))
        elif self.h2:
            self.upstream.script()
        else:
            self.upstream.script(None, False)

    def requests(self):
        return [Got(message) for _, message in self.upstream.requests]

    def nothing_upstream(self):
        time.sleep(QUIET)
        need(not self.upstream.requests, f'the upstream got {[got.start for got in self.requests()]}')
        need(not self.upstream.errors, f'malformed at the upstream: {self.upstream.errors}')

    def alive(self, conn):
        """Another request on the connection is answered, and it is the only one that the upstream gets."""
        self.script_plain()
        again = conn.request('/again')
        need(again.status == 200 and again.body == b'ok', f'the second request: {again}')
        # Sent on a connection that the upstream has just closed, it is sent again on another (RFC 9110 9.2.2).
        need({got.start for got in self.requests()} == {(b'GET', b'/again')}, f'behind the second request the upstream has {[got.start for got in self.requests()]}')
        conn.ready()

    def script_plain(self):
        if self.h2:
            self.upstream.script()
        else:
            self.upstream.script(None, False)

    # ---- requests of an HTTP/2 client

    def run_request(self, case):
        outcome = case.outcomes[0]
        with Client(self.port, self.host) as conn:
            stream = raw_h2.Stream(1, conn.initial)
            stream.no_body = any((b':method', b'HEAD') in what for word, what in case.frames if word == 'head')
            conn.streams[1], conn.next = stream, 3
            try:
                write_frames(conn, 1, case.frames)
            except Ended:
                need(outcome.kind == 'goaway' or outcome.has('or-goaway'), 'closed while we sent')
            over = conn.until(lambda: stream.over or conn.closed or conn.goaway is not None)
            need(over, f'silence: {stream}')
            died = conn.closed or (conn.goaway is not None and conn.goaway[1] != 0)
            if outcome.kind == 'goaway':
                if not outcome.has('or-forward') and not died:
                    need(conn.ends(), f'the connection lives on: {stream}')
                return
            if died:
                need(outcome.has('or-goaway'), f'the connection ended: {stream}, GOAWAY {conn.goaway}')
                return
            getattr(self, 'judge_' + outcome.kind.replace('-', '_'))(outcome, stream)
            self.alive(conn)

    def judge_forward(self, outcome, stream):
        if outcome.has('or-refuse') and not self.upstream.requests and (stream.reset is not None or stream.status != 200):
            need(stream.ended or stream.reset is not None, str(stream))
            return
        need(stream.status == 200 and stream.ended and stream.reset is None, str(stream))
        self.check_forwarded(outcome)

    def check_forwarded(self, outcome):
        need(not self.upstream.errors, f'malformed at the upstream: {self.upstream.errors}')
        requests = self.requests()
        need(len(requests) == 1, f'the upstream got {[got.start for got in requests]}')
        method, target = unescape(outcome.argument).split(b' ')
        need(requests[0].start == (method, target), f'forwarded as {requests[0].start}')
        check_details(outcome, requests[0])

    def judge_malformed(self, _, stream):
        if stream.status is None:
            need(stream.reset == 1, f'not RST_STREAM (PROTOCOL_ERROR): {stream}')
        else:
            need(400 <= stream.status <= 499 or stream.status == 501, str(stream))
        self.nothing_upstream()

    def judge_refuse(self, outcome, stream):
        need(stream.ended and (stream.status >= 400 if outcome.argument == 'any' else str(stream.status) == outcome.argument), str(stream))
        self.nothing_upstream()

    def judge_refuse_body(self, outcome, stream):
        time.sleep(QUIET)
        need(not self.upstream.errors, f'malformed at the upstream: {self.upstream.errors}')
        if outcome.has('or-announced') and [got.body for got in self.requests()] == [unescape(outcome.all('or-announced')[0])]:
            return
        need(stream.reset is not None or stream.status >= 400, str(stream))
        need(not self.upstream.requests, f'the upstream got a whole message: {[(got.start, got.body) for got in self.requests()]}')

    # ---- requests of an HTTP/1.1 client before an HTTP/2 upstream

    def run_upgrade(self, case):
        outcome = case.outcomes[0]
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as sock:
            for piece in case.sends:
                sock.sendall(piece)
            answer = raw_http.Reader(sock).answer(outcome.argument.split()[0].encode())
            if outcome.has('or-refuse') and answer.start[0] >= 400 and not self.upstream.requests:
                return
            need(answer.start[0] == 200, f'status {answer.start[0]} {answer.body[:200]!r}')
            self.check_forwarded(outcome)

    # ---- answers

    def run_answer_h2(self, case):
        outcome = case.outcomes[0]
        with Client(self.port, self.host) as conn:
            stream = conn.request('/case', method=case.method)
            need(not stream.ended or stream.reset is None, str(stream))
            if outcome.has('or-deliver') and stream.ended and str(stream.status) == outcome.all('or-deliver')[0]:
                pass
            elif outcome.kind == 'deliver':
                need(stream.ended and str(stream.status) == outcome.argument, str(stream))
                check_details(outcome, Got(stream))
            elif outcome.kind == 'bad-gateway':
                need(stream.ended and stream.status == 502, str(stream))
            else:
                need(stream.reset is not None if stream.status != 502 else stream.ended, str(stream))
            need(not self.upstream.errors, f'malformed at the upstream: {self.upstream.errors}')
            self.alive(conn)

    def run_answer_h1(self, case):
        outcome, method = case.outcomes[0], case.method.encode()
        with socket.create_connection((self.host, self.port), timeout=PATIENCE) as sock:
            sock.sendall(method + b' /case HTTP/1.1\r\nHost: a.example\r\n\r\n')
            try:
                answer = raw_http.Reader(sock).answer(method)
            except raw_http.Cut as error:
                need(outcome.kind == 'cut', f'cut: {error}')
                return
            if outcome.has('or-deliver') and str(answer.start[0]) == outcome.all('or-deliver')[0]:
                return
            if outcome.kind == 'deliver':
                need(str(answer.start[0]) == outcome.argument, f'status {answer.start[0]} {answer.body[:200]!r}')
                check_details(outcome, Got(answer))
            else:
                need(answer.start[0] == 502 and not answer.until_close, f'status {answer.start[0]}, body {answer.body[:200]!r}')
            need(not self.upstream.errors, f'malformed at the upstream: {self.upstream.errors}')


class H2Corpus(unittest.TestCase):
    passed = failed = 0

    def run_all(self, runner, what):
        wanted, failed, count = os.environ.get('H2_CASE'), [], 0
        for case in CASES:
            if wanted and case.id != wanted:
                continue
            for run in runner.clients(case):
                count += 1
                runner.script(case)
                try:
                    run(case)
                except (Fail, raw_h2.Malformed, Ended, raw_http.Malformed, raw_http.Cut, OSError) as error:
                    failed.append(case.id)
                    print(f'FAIL: {case.id} ({what}, {run.__name__}): {type(error).__name__}: {error}\n      RFC {case.rfc}', flush=True)
        H2Corpus.passed += count - len(failed)
        H2Corpus.failed += len(failed)
        print(f'{what}: {count - len(failed)} of {count} cases as they should be', flush=True)
        self.assertEqual(failed, [])

    def run_before(self, name, make, protocol, what):
        if given := os.environ.get('H2_GATEWAY'):
            if name not in os.environ:
                self.skipTest(f'no {name}')
            host, _, port = given.rpartition(':')
            with make(port=int(os.environ[name])) as upstream:
                self.run_all(Runner(host, int(port), upstream), what)
            return
        with make() as upstream:
            objects = [CLASS] + service('up', [upstream.port], protocol=protocol) + [ingress('h2', '', 'up')]
            with Gateway(objects, admin=False) as gateway:
                self.run_all(Runner('127.0.0.1', gateway.http, upstream), what)
                self.assertIsNone(gateway.proc.poll(), 'the gateway is gone')

    def test_http1_upstream(self):
        self.run_before('H2_UPSTREAM', raw_http.RawUpstream, None, 'HTTP/1.1 upstream')

    def test_http2_upstream(self):
        self.run_before('H2C_UPSTREAM', Upstream, 'kubernetes.io/h2c', 'HTTP/2 upstream')


if __name__ == '__main__':
    done = unittest.main(verbosity=2, exit=False).result
    # Each case at each setting is a test of its own; what went wrong outside of them counts too.
    outside = len(done.errors) + (0 if H2Corpus.failed else len(done.failures))
    print(f'{H2Corpus.passed} passed, {H2Corpus.failed + outside} failed', flush=True)
    sys.exit(0 if done.wasSuccessful() and H2Corpus.passed else 1)
