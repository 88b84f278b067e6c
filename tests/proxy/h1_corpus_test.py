#!/usr/bin/env python3
"""Every case of h1_cases.txt on the wire: raw bytes to the gateway's socket, a scripted raw upstream behind it, strict readers at both sides. At 1, 2 and 4
workers, IPv4 and IPv6 (--fast or H1_FAST=1: 1 worker, IPv4). Against a gateway that runs already: H1_GATEWAY=HOST:PORT H1_UPSTREAM=PORT (it must send everything to
127.0.0.1:PORT). One case only: H1_CASE=ID."""
import os
import socket
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, ".."))
import h1_cases  # noqa: E402
from lib.gateway import CLASS, Gateway, ingress, service  # noqa: E402
from lib.raw_http import Cut, Malformed, RawUpstream, Reader  # noqa: E402

CASES = h1_cases.read(os.path.join(HERE, "h1_cases.txt"))
PATIENCE = float(os.environ.get("SLUICE_TEST_PATIENCE", "60"))  # a hang becomes a failure; nothing waits so long that works
# How long nothing has to happen where nothing should: the connection stays open, the upstream gets nothing.
QUIET = 0.05
LOCAL = (200, 204, 400, 403, 404, 405, 426, 501, 503)


class Fail(Exception):
    pass


def need(good, text):
    if not good:
        raise Fail(text)


class Runner:
    def __init__(self, host, port, upstream):
        self.address, self.upstream = (host, port), upstream

    def connect(self):
        sock = socket.create_connection(self.address, timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def run(self, case):
        self.upstream.script(case.answers if not case.is_request else None, case.eof)
        if case.is_request:
            self.run_request(case)
        else:
            self.run_answer(case)

    @staticmethod
    def send(sock, case):
        pieces = [b"%c" % byte for byte in b"".join(case.sends)] if case.bytewise else case.sends
        for i, piece in enumerate(pieces):
            if i:
                time.sleep(0.002)
            try:
                sock.sendall(piece)
            except OSError:
                return  # refused before all of it was sent

    def nothing_upstream(self, whole_only):
        time.sleep(QUIET)
        need(not self.upstream.requests, f"the upstream got {[m.start for _, m in self.upstream.requests]}")
        # A body that was refused half-way leaves a cut request there, never a malformed one.
        need(not self.upstream.errors, f"malformed at the upstream: {self.upstream.errors} {'' if whole_only else '(and anything is too much)'}")

    def run_request(self, case):
        with self.connect() as sock:
            reader = Reader(sock)
            self.send(sock, case)
            first = case.outcomes[0]
            if first.kind == "refuse":
                answer = reader.answer()
                need(str(answer.start[0]) == first.argument.split()[0], f"status {answer.start[0]}")
                need(reader.at_end(PATIENCE), "the connection stays open")
                need(answer.closes(), "no Connection: close")
                self.nothing_upstream(False)
                return
            if first.kind == "refuse-body":
                try:
                    answer = reader.answer()
                    need(answer.start[0] >= 400, f"status {answer.start[0]}")
                    need(reader.at_end(PATIENCE), "the connection stays open")
                except Cut:
                    pass
                self.nothing_upstream(True)
                return
            method = b"GET"
            for i, outcome in enumerate(case.outcomes):
                method = outcome.argument.split()[0].encode()
                answer = reader.answer(method)
                if outcome.has("local-ok") and answer.start[0] in LOCAL and not self.upstream.requests:
                    return
                need(answer.start[0] == 200, f"answer {i}: status {answer.start[0]} {answer.body[:200]!r}")
                self.check_forwarded(outcome, i)
                last = i + 1 == len(case.outcomes)
                for end in outcome.all("end"):
                    if end == "close":
                        need(reader.at_end(PATIENCE), "the connection stays open")
                    elif last:
                        self.still_usable(sock, reader)
            need(not self.upstream.errors, f"malformed at the upstream: {self.upstream.errors}")
            expected = len(case.outcomes) + (1 if case.outcomes[-1].all("end") == ["keep"] else 0)
            need(len(self.upstream.requests) == expected, f"the upstream got {[m.start for _, m in self.upstream.requests]}")

    def still_usable(self, sock, reader):
        sock.sendall(b"GET /again HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        need(reader.answer().start[0] == 200, "the second request failed")
        need(self.upstream.requests[-1][1].start == (b"GET", b"/again"), f"the second request became {self.upstream.requests[-1][1].start}")

    def check_forwarded(self, outcome, i):
        need(len(self.upstream.requests) > i, f"nothing forwarded, errors {self.upstream.errors}")
        message = self.upstream.requests[i][1]
        method, target = h1_cases.unescape(outcome.argument).split(b" ")
        need(message.start == (method, target), f"forwarded as {message.start}")
        self.check_details(outcome, message)

    @staticmethod
    def check_details(outcome, message):
        body = b""
        for word, rest in outcome.details:
            raw = h1_cases.unescape(rest)
            if word == "host":
                need(message.all(b"host") == [raw], f"Host {message.all(b'host')}")
            elif word == "field":
                name, _, value = raw.partition(b":")
                need(value[1:] in message.all(name), f"{raw[:100]!r} missing: {message.all(name)}")
            elif word == "no-field":
                # Content-Length: 0 says the same as nothing, and the gateway may say it.
                need([v for v in message.all(raw) if (raw, v) != (b"Content-Length", b"0")] == [], f"{rest} is there")
            elif word == "no-trailer":
                need(not any(n.lower() == raw.lower() for n, _ in message.trailers), f"trailer {rest} is there")
            elif word == "trailer":
                name, _, value = raw.partition(b":")
                need((name.lower(), value[1:]) in [(n.lower(), v) for n, v in message.trailers], f"trailer {rest} missing")
            elif word == "length":
                need(message.length == int(rest), f"Content-Length {message.length}")
            elif word == "chunked":
                need(message.chunked, "not chunked")
            elif word == "body":
                body = raw
            elif word == "interim":
                need(int(rest) in message.interim, f"interim {message.interim}")
        need(message.body == body, f"body {message.body[:100]!r}")

    def run_answer(self, case):
        outcome = case.outcomes[0]
        method = case.method.encode()
        with self.connect() as sock:
            reader = Reader(sock)
            sock.sendall(method + b" /case HTTP/1.1\r\nHost: a.example\r\n\r\n")
            try:
                answer = reader.answer(method)
            except Cut as error:
                need(outcome.kind == "cut", f"cut: {error}")
                return
            if outcome.kind in ("bad-gateway", "cut"):
                need(answer.start[0] == 502 and not answer.until_close, f"status {answer.start[0]}, body {answer.body[:200]!r}")
                return
            need(str(answer.start[0]) == outcome.argument, f"status {answer.start[0]}")
            need(not answer.until_close or outcome.has("end"), "ends by close")
            self.check_details(outcome, answer)
            if not outcome.has("end") or reader.closed or answer.closes():
                return
            used = self.upstream.requests[-1][0]
            self.upstream.script(None, False)
            sock.sendall(b"GET /again HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            again = reader.answer()
            need(again.start[0] == 200 and again.body == b"ok", f"the next answer: {again.start[0]} {again.body[:100]!r}")
            same = self.upstream.requests[-1][0] == used
            want = outcome.all("end")[0] == "keep"
            need(same == want, "the upstream connection was " + ("used again" if same else "not used again"))


class H1Corpus(unittest.TestCase):
    passed = failed = 0

    def run_all(self, runner, what):
        wanted = os.environ.get("H1_CASE")
        failed, count = [], 0
        for case in CASES:
            if wanted and case.id != wanted:
                continue
            count += 1
            try:
                runner.run(case)
            except (Fail, Malformed, Cut, OSError) as error:
                failed.append(case.id)
                print(f"FAIL: {case.id} ({what}): {type(error).__name__}: {error}\n      RFC {case.rfc}", flush=True)
        H1Corpus.passed += count - len(failed)
        H1Corpus.failed += len(failed)
        print(f"{what}: {count - len(failed)} of {count} cases as they should be", flush=True)
        self.assertEqual(failed, [])

    def run_gateway(self, workers, address):
        with RawUpstream(address) as upstream:
            objects = [CLASS] + service("up", [upstream.port], address=address) + [ingress("h1", "", "up")]
            with Gateway(objects, workers=workers, bind=address, admin=False) as gateway:
                self.run_all(Runner(address, gateway.http, upstream), f"{workers} workers, {address}")
                self.assertIsNone(gateway.proc.poll(), "the gateway is gone")

    def test_corpus(self):
        given = os.environ.get("H1_GATEWAY")
        if given:
            host, _, port = given.rpartition(":")
            with RawUpstream("127.0.0.1", int(os.environ["H1_UPSTREAM"])) as upstream:
                self.run_all(Runner(host, int(port), upstream), given)
            return
        for workers in (1,) if FAST else (1, 2, 4):
            for address in ("127.0.0.1",) if FAST else ("127.0.0.1", "::1"):
                with self.subTest(workers=workers, address=address):
                    self.run_gateway(workers, address)


FAST = "--fast" in sys.argv or os.environ.get("H1_FAST") == "1"
if __name__ == "__main__":
    done = unittest.main(argv=[a for a in sys.argv if a != "--fast"], verbosity=2, exit=False).result
    # Each case at each setting is a test of its own; what went wrong outside of them counts too.
    outside = len(done.errors) + (0 if H1Corpus.failed else len(done.failures))
    print(f"{H1Corpus.passed} passed, {H1Corpus.failed + outside} failed", flush=True)
    sys.exit(0 if done.wasSuccessful() and H1Corpus.passed else 1)
