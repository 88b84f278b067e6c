"""Faults made by hand, for the readers and judges of the wire fuzz: a gateway that did any of this must be told of. planted() says which were not; good() which good
traffic was taken for a fault."""
import socket
import types

from lib import hpack, raw_h2
from lib.raw_h2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, PRIORITY, PUSH_PROMISE, data, frame, headers, settings)
from wire import clients, h1, inputs, origins
from wire.loop import Connection, Listener, Loop
from wire.world import World

PLAIN = (b'a.example', None)
LINE, HOST, LENGTH = b'POST /m HTTP/1.1\r\n', b'Host: a.example\r\n', b'Content-Length: 3\r\n'
WHOLE = LINE + HOST + b'X-A: b\r\n' + LENGTH + b'\r\nabc'
CHUNKED = LINE + HOST + b'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n'

FORWARDED_H1 = {
    'LF': WHOLE.replace(b'HTTP/1.1\r\n', b'HTTP/1.1\n'),
    'bare CR': WHOLE.replace(b': b', b': b\rc'),
    'NUL': WHOLE.replace(b': b', b': \x00'),
    'folded': WHOLE.replace(b': b', b':\r\n b'),
    'space before colon': WHOLE.replace(b'X-A:', b'X-A :'),
    'two hosts': WHOLE.replace(HOST, HOST * 2),
    'no host': WHOLE.replace(HOST, b''),
    'userinfo': WHOLE.replace(b'a.example', b'u@a.example'),
    'both lengths': CHUNKED.replace(HOST, HOST + LENGTH),
    'two lengths': WHOLE.replace(LENGTH, LENGTH * 2),
    'padded length': WHOLE.replace(b': 3', b': 03'),
    'signed length': WHOLE.replace(b': 3', b': +3'),
    'coding': CHUNKED.replace(b'chunked', b'gzip, chunked'),
    'two codings': CHUNKED.replace(HOST, HOST + b'Transfer-Encoding: chunked\r\n'),
    'extension': CHUNKED.replace(b'3\r\n', b'3;a=b\r\n'),
    'chunk end': CHUNKED.replace(b'abc\r\n', b'abcd\r\n'),
    'trailer that frames': CHUNKED.replace(b'0\r\n', b'0\r\n' + LENGTH),
    'trailer that was not sent': CHUNKED.replace(b'0\r\n', b'0\r\nX-T: 1\r\n'),
    'absolute-form': WHOLE.replace(b'/m', b'http://a.example/m'),
    'dots': WHOLE.replace(b'/m', b'/x/../m'),
    'escape': WHOLE.replace(b'/m', b'/%6d'),
    'fragment': WHOLE.replace(b'/m', b'/m#x'),
    'HTTP/1.0': WHOLE.replace(b'/1.1', b'/1.0'),
    'empty line before': b'\r\n' + WHOLE,
    'close': WHOLE.replace(HOST, HOST + b'Connection: close\r\n'),
    'keep-alive': WHOLE.replace(HOST, HOST + b'Keep-Alive: 5\r\n'),
    'te': WHOLE.replace(HOST, HOST + b'TE: gzip\r\nConnection: TE\r\n'),
    'upgrade': WHOLE.replace(HOST, HOST + b'Upgrade: h2c\r\nConnection: Upgrade\r\n'),
    'method': WHOLE.replace(b'POST', b'PO(ST'),
    'another method': WHOLE.replace(b'POST', b'PUT'),
    'another target': WHOLE.replace(b'/m', b'/n2'),
    'another host': WHOLE.replace(b'a.example', b'b.example'),
    'another body': WHOLE.replace(b'abc', b'abd'),
    'less body': WHOLE.replace(b': 3', b': 2')[:-1],
    'field added': WHOLE.replace(HOST, HOST + b'X-Evil: 1\r\n'),
    'field changed': WHOLE.replace(b': b', b': c'),
    'twice': WHOLE + WHOLE,
    'one behind': WHOLE + b'GET /admin HTTP/1.1\r\nHost: a.example\r\n\r\n',
    'bytes behind': WHOLE + b'G',
    'half a head': LINE + HOST,
}
POST = raw_h2.request_fields('/m', method='POST', more=[('x-a', 'b')])
H2_START = PREFACE + settings()
FORWARDED_H2 = {
    'upper case': [headers(1, POST + [(b'X-B', b'c')], False), data(1, b'abc', True)],
    'connection': [headers(1, POST + [(b'connection', b'close')], False), data(1, b'abc', True)],
    'te': [headers(1, POST + [(b'te', b'gzip')], False), data(1, b'abc', True)],
    'CR LF': [headers(1, POST + [(b'x-b', b'c\r\nd: e')], False), data(1, b'abc', True)],
    'white space': [headers(1, POST + [(b'x-b', b' c')], False), data(1, b'abc', True)],
    'no path': [headers(1, [f for f in POST if f[0] != b':path'], False), data(1, b'abc', True)],
    'pseudo behind': [headers(1, POST[::-1], False), data(1, b'abc', True)],
    'pseudo twice': [headers(1, POST[:1] + POST, False), data(1, b'abc', True)],
    'unknown pseudo': [headers(1, [(b':x', b'y')] + POST, False), data(1, b'abc', True)],
    'host twice': [headers(1, POST + [(b'host', b'a.example')], False), data(1, b'abc', True)],
    'length': [headers(1, POST + [(b'content-length', b'4')], False), data(1, b'abc', True)],
    'length 2': [headers(1, POST + [(b'content-length', b'2')], False), data(1, b'abc', True)],
    'dots': [headers(1, raw_h2.request_fields('/x/../m', method='POST'), False), data(1, b'abc', True)],
    'behind the end': [headers(1, POST), data(1, b'abc', True)],
    'even': [headers(2, POST, False), data(2, b'abc', True)],
    'backwards': [headers(3, POST, False), data(3, b'abc', True), headers(1, raw_h2.request_fields('/n/1'))],
    'idle': [data(5, b'abc', True)],
    'no preface': None,
    'between': [headers(1, POST, False, whole=False), data(1, b'abc', True)],
    'alone': [frame(CONTINUATION, END_HEADERS, 1)],
    'compression': [frame(HEADERS, END_HEADERS | END_STREAM, 1, b'\xbf')],
    'size': [frame(DATA, 0, 1, bytes(16385))],
    'PRIORITY': [frame(PRIORITY, 0, 1, bytes(5))],
    'trailers that do not end': [headers(1, POST, False), data(1, b'abc'), headers(1, [(b'x-t', b'1')], False)],
    'pseudo in trailers': [headers(1, POST, False), data(1, b'abc'), headers(1, [(b':path', b'/')])],
    'trailer that frames': [headers(1, POST, False), data(1, b'abc'), headers(1, [(b'content-length', b'3')])],
    'trailer that was not sent': [headers(1, POST, False), data(1, b'abc'), headers(1, [(b'x-t', b'1')])],
    'window': [headers(1, POST, False)] + [data(1, bytes(16384))] * 4,
    'push': [frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4))],
    'another body': [headers(1, POST, False), data(1, b'abd', True)],
    'field added': [headers(1, POST + [(b'x-evil', b'1')], False), data(1, b'abc', True)],
    'nobody asked': [headers(1, raw_h2.request_fields('/admin'))],
    'twice': [headers(1, POST, False), data(1, b'abc', True), headers(3, POST, False), data(3, b'abc', True)],
    'another host': [headers(1, raw_h2.request_fields('/m', 'b.example', 'POST'), False), data(1, b'abc', True)],
}

OK, DATE, MARK = b'HTTP/1.1 200 OK\r\n', b'Date: Sun, 29 Nov 2026 10:00:00 GMT\r\n', b'X-Mark: 1\r\n'
ANSWER = OK + DATE + MARK + b'Content-Length: 3\r\nConnection: close\r\n\r\nabc'
OWN = b'HTTP/1.1 400 Bad Request\r\n' + DATE + b'Content-Length: 0\r\nConnection: close\r\n\r\n'
ANSWERS_H1 = {
    'no Date': ANSWER.replace(DATE, b''),
    'Date': ANSWER.replace(b'Sun', b'Xxx'),
    'two Dates': ANSWER.replace(DATE, DATE * 2),
    'LF': ANSWER.replace(b'OK\r\n', b'OK\n'),
    'status': ANSWER.replace(b'200', b'2000'),
    'version': ANSWER.replace(b'1.1', b'1.0'),
    'two lengths': ANSWER.replace(b'\r\n\r\n', b'\r\nContent-Length: 3\r\n\r\n'),
    'both': ANSWER.replace(b'\r\n\r\n', b'\r\nTransfer-Encoding: chunked\r\n\r\n'),
    'another body': ANSWER.replace(b'abc', b'abd'),
    'cut': ANSWER[:-1],
    'cut head': ANSWER[:30],
    'more body': ANSWER + b'd',
    'answer added': ANSWER + ANSWER,
    'another mark': ANSWER.replace(b'Mark: 1', b'Mark: 2'),
    'unknown mark': ANSWER.replace(b'Mark: 1', b'Mark: 77'),
    'another status': ANSWER.replace(b'200', b'404'),
    'no answer': b'',
    '200 of its own': ANSWER.replace(MARK, b''),
    '101': ANSWER.replace(b'200', b'101'),
    '1xx with a length': b'HTTP/1.1 103 x\r\nContent-Length: 0\r\n\r\n' + ANSWER,
    '204 with a length': ANSWER.replace(b'200', b'204'),
    'keep-alive field': ANSWER.replace(MARK, MARK + b'Keep-Alive: 5\r\n'),
    'upgrade': ANSWER.replace(MARK, MARK + b'Upgrade: h2c\r\n'),
    'folded': ANSWER.replace(MARK, MARK + b' x\r\n'),
    'NUL': ANSWER.replace(MARK, MARK + b'X: \x00\r\n'),
    'chunk cut': OK + DATE + MARK + b'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
    'chunk extension': OK + DATE + MARK + b'Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n',
}
FIELDS = [(b':status', b'200'), (b'date', b'Sun, 29 Nov 2026 10:00:00 GMT'), (b'x-mark', b'1')]
ANSWERS_H2 = {
    'no date': [headers(1, [FIELDS[0], FIELDS[2]], False), data(1, b'abc', True)],
    'upper case': [headers(1, FIELDS + [(b'X-A', b'b')], False), data(1, b'abc', True)],
    'no status': [headers(1, FIELDS[1:], False), data(1, b'abc', True)],
    'connection': [headers(1, FIELDS + [(b'connection', b'close')], False), data(1, b'abc', True)],
    'no head': [data(1, b'abc', True)],
    'idle': [headers(5, FIELDS)],
    'behind the end': [headers(1, FIELDS, False), data(1, b'abc', True), data(1, b'd')],
    'length': [headers(1, FIELDS + [(b'content-length', b'4')], False), data(1, b'abc', True)],
    'another mark': [headers(1, FIELDS[:2] + [(b'x-mark', b'2')], False), data(1, b'abc', True)],
    'another body': [headers(1, FIELDS, False), data(1, b'abd', True)],
    'less body': [headers(1, FIELDS, False), data(1, b'ab', True)],
    '101': [headers(1, [(b':status', b'101')], False)],
    '200 of its own': [headers(1, FIELDS[:2], False), data(1, b'abc', True)],
    'push': [frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4))],
    'cut': [headers(1, FIELDS, False), data(1, b'abc')],
    'no answer': [],
    'compression': [frame(HEADERS, END_HEADERS, 1, b'\xbf')],
    'interim that ends': [headers(1, [(b':status', b'103')])],
    'unknown frame': [frame(187, 0, 1)],
    'reset twice': [raw_h2.reset(1), raw_h2.reset(1)],
    'between': [headers(1, FIELDS, False, whole=False), data(1, b'abc', True)],
}


class Scripted(Connection):
    """A gateway that says always the same."""

    def __init__(self, loop, sock, says):
        super().__init__(loop, sock)
        self.says = says

    def came(self, _):
        if self.says is not None:
            self.write(self.says)
            self.says = None
            self.shut()

    def ended(self, _):
        self.close()


def at_origin(make, what):
    """What is told of these bytes at an origin, when POST /m with `abc` was sent once."""
    loop, world = Loop(), World()
    world.expect(inputs.Input('h1', 0, 0), b'POST', b'/m', PLAIN, b'abc', [(b'x-a', b'b')], [], True, False)
    ours, its = pair()
    conn = make(loop, its, world)
    ours.sendall(what)
    ours.shutdown(socket.SHUT_WR)
    loop.run(lambda: conn.fd is None)
    ours.close()
    loop.close()
    return world.wrong


def pair():
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen(1)
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]


def at_client(make, says, known=True):
    """What is told of an answer, at the client that make(run) makes."""
    loop, world = Loop(), World()
    world.marks = {1: (b'GET', b'/t', 200, b'abc'), 2: (b'GET', b'/other', 200, b'abc')} if known else {}
    listener = Listener(loop, lambda sock: Scripted(loop, sock, says))
    run = types.SimpleNamespace(loop=loop, port=listener.port, world=world, patience=20, finished=lambda client: None, again=lambda _: 1, hostile=origins.Hostile(loop, world))
    client = make(run)
    loop.run(lambda: client.done)
    loop.close()
    return world.wrong


def at_hostile(pieces, requests, together):
    """What is told of requests that reach an origin which answers the first with these pieces. together: on one connection."""
    loop, world = Loop(), World()
    hostile, input = origins.Hostile(loop, world), inputs.Input('upstream', 0, 0, pieces=pieces, how='keep')
    for method, target in ((b'POST', b'/m'), (b'POST', b'/m2')):
        hostile.inputs[target], hostile.attempts[target] = input, []
        world.expect(input, method, target, PLAIN, b'abc', [(b'x-a', b'b')], [], True, False)
    conn, got = None, []
    for request in requests:
        if conn is None or not together:
            ours, its = pair()
            conn, seen = origins.H1(loop, its, world, hostile.h1), 0
            got.append(ours)
        ours.sendall(request)
        seen += 1
        loop.run(lambda: conn.seen == seen)
    for ours in got:
        ours.close()
    loop.close()
    return world.wrong


def http1(how='wait', request=b'GET /t HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n'):
    return lambda run: clients.H1(run, inputs.Input('h1', 0, 0), [request], how)


def http2(fields=None, end=True):
    return lambda run: clients.H2(run, inputs.Input('h2', 0, 0), [PREFACE, settings(), headers(1, fields or raw_h2.request_fields('/t'), end)], 'wait')


def asking(version, said):
    """A client that asked for an input's answer, of which the origin had said so much."""
    def make(run):
        client = (clients.AskingH1 if version == 1 else clients.AskingH2)(run, inputs.Input('upstream', 0, 0, method=b'GET', origin='h1'))
        client.attempts.append(origins.Attempt(h1.Reader(answers=True, written=False).feed(said)))
        run.world.marks = {1: (b'GET', client.good, 200, b'abc')}
        return client
    return make


SAID = b'HTTP/1.1 200 OK\r\nX-O: 1\r\nContent-Length: 3\r\n\r\nxyz'
PASSED = OK + DATE + b'X-O: 1\r\nContent-Length: 3\r\n\r\nxyz'
HOSTILE = {
    'cut at the origin': (SAID[:-1], PASSED + ANSWER),
    'without its end': (SAID.replace(b'Content-Length: 3\r\n', b''), PASSED + ANSWER),
    'another body': (SAID, PASSED.replace(b'xyz', b'xyw') + ANSWER),
    'another status': (SAID, PASSED.replace(b'200', b'404') + ANSWER),
    'field added': (SAID, PASSED.replace(b'X-O', b'X-P') + ANSWER),
    'malformed at the origin': (SAID.replace(b'X-O:', b'X-O :'), PASSED + ANSWER),
    'the next is wrong': (SAID, PASSED + ANSWER.replace(b'abc', b'xyz')),
    'the next is missing': (SAID, PASSED),
}


def planted():
    """(how many faults, the names of those that nobody told of)."""
    h1_origin, h2_origin = (lambda l, s, w: origins.H1(l, s, w)), (lambda l, s, w: origins.H2(l, s, w))
    found = {f'forwarded, HTTP/1.1: {name}': at_origin(h1_origin, what) for name, what in FORWARDED_H1.items()}
    found |= {f'forwarded, HTTP/2: {name}': at_origin(h2_origin, b'GET / HTTP/1.1\r\n\r\n' if what is None else H2_START + b''.join(what)) for name, what in FORWARDED_H2.items()}
    found |= {f'answer, HTTP/1.1: {name}': at_client(http1(), says) for name, says in ANSWERS_H1.items()}
    found |= {f'answer, HTTP/2: {name}': at_client(http2(), settings() + b''.join(says)) for name, says in ANSWERS_H2.items()}
    head = b'HEAD /t HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n'
    found['answer, HTTP/1.1: content of a HEAD'] = at_client(http1(request=head), ANSWER)
    found['answer, HTTP/1.1: content of a HEAD that was refused'] = at_client(http1(request=head.replace(b'Host:', b'Host :')), OWN.replace(b': 0', b': 3') + b'abc')
    found['answer, HTTP/1.1: to half a request'] = at_client(http1(request=b'POST /t HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nabc'), ANSWER)
    found['answer, HTTP/1.1: to a malformed one'] = at_client(http1(request=b'GET /t HTTP/1.1\r\nHost : a.example\r\n\r\n'), ANSWER)
    found['answer, HTTP/2: to a malformed one'] = at_client(http2(raw_h2.request_fields('/t') + [(b'X', b'y')]), settings() + headers(1, FIELDS, False) + data(1, b'abc', True))
    found |= {f'of a hostile origin: {name}': at_client(asking(1, said), says) for name, (said, says) in HOSTILE.items()}
    again = WHOLE.replace(b'/m', b'/m2')
    for name, said in {'bytes behind the answer': SAID + b'X', 'half an answer': SAID[:-1], 'malformed': SAID.replace(b'X-O:', b'X-O :'), 'close': SAID.replace(b'X-O: 1',
        b'Connection: close')}.items():
        found[f'used again, although poisoned: {name}'] = at_hostile([said], [WHOLE, again], True)
    found['sent again, although it had arrived'] = at_hostile([SAID], [WHOLE, WHOLE], False)
    return len(found), [name for name, wrong in found.items() if not wrong]


def good():
    """What was told of traffic without a fault."""
    h1_origin, h2_origin = (lambda l, s, w: origins.H1(l, s, w)), (lambda l, s, w: origins.H2(l, s, w))
    wrong = at_origin(h1_origin, WHOLE) + at_origin(h1_origin, CHUNKED) + at_origin(h1_origin, WHOLE[:-1]) + at_origin(h2_origin, H2_START + headers(1, POST, False) + data(1,
        b'abc', True))
    wrong += at_origin(h2_origin, H2_START + headers(1, POST, False) + data(1, b'ab') + raw_h2.reset(1))
    wrong += at_client(http1(), ANSWER) + at_client(http1(), OWN) + at_client(http2(), settings() + headers(1, FIELDS, False) + data(1, b'abc', True)) + at_client(http2(),
        settings() + raw_h2.reset(1))
    wrong += at_hostile([SAID], [WHOLE, WHOLE.replace(b'/m', b'/m2')], True)
    wrong += at_client(asking(1, SAID), PASSED + ANSWER) + at_client(asking(1, SAID[:-1]), PASSED[:-1])
    return wrong
