"""What an HTTP/2 upstream may do to the gateway: UPSTREAM[name]. A client's requests to it must end somehow."""
import socket
import struct

from h2_attack_tools import GET, MiB, need
from lib import hpack, raw_h2
from lib.raw_h2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, PRIORITY, Client, data, frame, goaway, headers, ping,
                        request_fields, reset, settings, window_update)

UPSTREAM = {}


def from_upstream(requests=5, status=None, at_start=None, **how):
    """requests: one after the other; status: what the client must get of each (None: anything but silence)."""
    def add(function):
        UPSTREAM[function.__name__.replace('_', '-')] = (function, requests, status, at_start, how)
        return function
    return add


OK = [(b':status', b'200')]


def pour(conn, piece, count, batch=100):
    for _ in range(0, count, batch):
        conn.send(piece * batch)


@from_upstream(200)
def upstream_refuses_every_stream(conn, stream):
    conn.send(reset(stream.id, 7))


@from_upstream(100)
def upstream_resets_every_answer(conn, stream):
    conn.send(headers(stream.id, OK, False), data(stream.id, b'abc'), reset(stream.id, 2))


@from_upstream(3)
def upstream_resets_again_and_again(conn, stream):
    pour(conn, reset(stream.id, 2), 50000)


@from_upstream(2)
def upstream_never_gets_beyond_103(conn, stream):
    pour(conn, headers(stream.id, [(b':status', b'103'), (b'link', b'</' + b'a' * 200 + b'>')], False), 50000)


@from_upstream(2)
def upstream_headers_without_end(conn, stream):
    conn.send(headers(stream.id, OK, False, whole=False))
    pour(conn, frame(CONTINUATION, 0, stream.id, hpack.literal(b'x-a', b'y' * 100)), 50000)


@from_upstream(2)
def upstream_continuations_of_nothing(conn, stream):
    conn.send(headers(stream.id, OK, False, whole=False))
    pour(conn, frame(CONTINUATION, 0, stream.id), 200000, 1000)


@from_upstream(2, 502)
def upstream_hpack_bomb(conn, stream):
    conn.send(headers(stream.id, hpack.block(OK) + hpack.literal(b'x-a', b'y' * 3900, index=True) + hpack.indexed(62) * 12000))


@from_upstream(2, 502)
def upstream_set_cookie_bomb(conn, stream):
    conn.send(headers(stream.id, hpack.block(OK) + hpack.literal(b'set-cookie', b'a=b', index=True) + hpack.indexed(62) * 15000))


@from_upstream(20)
def upstream_goaway_storm(conn, stream):
    raw_h2.plain(conn, stream)
    pour(conn, goaway(stream.id, 0, b'x' * 500), 2000)


@from_upstream(10)
def upstream_goaway_first(conn, stream):
    conn.send(goaway(0, 0))
    conn.sock.shutdown(socket.SHUT_WR)


@from_upstream(10)
def upstream_goaway_with_error(conn, stream):
    conn.send(goaway(0, 11))
    conn.sock.shutdown(socket.SHUT_WR)


@from_upstream(5)
def upstream_settings_flood(conn, stream):
    pour(conn, settings((INITIAL_WINDOW_SIZE, 65535)), 50000)
    raw_h2.plain(conn, stream)


@from_upstream(5)
def upstream_ping_flood(conn, stream):
    pour(conn, ping(), 100000)
    raw_h2.plain(conn, stream)


@from_upstream(5)
def upstream_window_update_flood(conn, stream):
    pour(conn, window_update(0, 1), 100000)
    raw_h2.plain(conn, stream)


@from_upstream(5)
def upstream_priority_flood(conn, stream):
    pour(conn, frame(PRIORITY, 0, stream.id, struct.pack('>IB', 0, 15)), 100000)
    raw_h2.plain(conn, stream)


@from_upstream(3)
def upstream_empty_data_flood(conn, stream):
    conn.send(headers(stream.id, OK, False))
    pour(conn, data(stream.id), 200000, 500)


@from_upstream(3)
def upstream_padding_flood(conn, stream):
    conn.send(headers(stream.id, OK, False))
    pour(conn, data(stream.id, b'', pad=255), 5000, 50)


@from_upstream(3)
def upstream_unknown_frames(conn, stream):
    pour(conn, frame(0xbb, 0, stream.id, b'x' * 100), 100000)
    raw_h2.plain(conn, stream)


@from_upstream(3)
def upstream_data_over_the_window(conn, stream):
    conn.send(headers(stream.id, OK, False))
    pour(conn, data(stream.id, bytes(16384)), 4000, 10)


@from_upstream(3)
def upstream_window_overflow(conn, stream):
    conn.send(window_update(0, 0x7fffffff), window_update(0, 0x7fffffff))


@from_upstream(3)
def upstream_push_promises(conn, stream):
    pour(conn, frame(raw_h2.PUSH_PROMISE, END_HEADERS, stream.id, struct.pack('>I', 2) + GET), 1000)


@from_upstream(3)
def upstream_oversized_frame(conn, stream):
    conn.send(headers(stream.id, OK, False), frame(DATA, END_STREAM, stream.id, b'', length=0xffffff))


@from_upstream(2)
def upstream_half_a_frame(conn, stream):
    conn.send(headers(stream.id, OK, False)[:12])


@from_upstream(2)
def upstream_says_nothing(conn, stream):
    pass


@from_upstream(2)
def upstream_windows_of_nothing(conn, stream):
    """How bodies wait is tried here; the request has one of 1 MiB."""


UPSTREAM['upstream-windows-of-nothing'] = (upstream_windows_of_nothing, 2, None, [(INITIAL_WINDOW_SIZE, 0)], {'body': bytes(MiB)})
UPSTREAM['upstream-takes-no-streams'] = (raw_h2.plain, 2, None, [(MAX_CONCURRENT_STREAMS, 0)], {'unasked': True})


@from_upstream(3)
def upstream_speaks_http1(conn, stream):
    conn.send(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')


@from_upstream(3)
def upstream_giant_content_length(conn, stream):
    conn.send(headers(stream.id, OK + [(b'content-length', b'9223372036854775807')], False), data(stream.id, b'x' * 100))
    conn.sock.shutdown(socket.SHUT_WR)


@from_upstream(1)
def upstream_answers_that_nobody_asked_for(conn, stream):
    pour(conn, b''.join(headers(stream.id + 2 * i, OK) for i in range(1, 50)), 1000, 10)
    raw_h2.plain(conn, stream)


@from_upstream(3)
def upstream_answers_twice(conn, stream):
    for _ in range(2):
        conn.send(headers(stream.id, OK, True))


@from_upstream(3)
def upstream_huge_answer_to_a_slow_client(conn, stream):
    conn.send(headers(stream.id, OK, False))
    conn.send_body(stream, bytes(32 * MiB))


UPSTREAM['upstream-huge-answer-to-a-slow-client'] = (upstream_huge_answer_to_a_slow_client, 3, 200, None, {'slow': True})


def attack_from_upstream(world, name):
    script, requests, status, more, how = UPSTREAM[name]
    world.hostile.settings = more or ()
    world.hostile.script(lambda conn, stream: script(conn, stream), early='body' in how)
    world.hostile.drop()  # no connection of the attack before
    for i in range(requests):
        # A connection each: what the gateway does to this one for its upstream's sake would be seen here.
        with Client(world.port, world.host, keep=False, credit=not how.get('slow')) as client:
            stream = client.open(request_fields(f'/{i}', 'h2.example', 'POST' if 'body' in how else 'GET'), 'body' not in how)
            if 'body' in how:
                client.until(lambda: stream.over, 0.2)
                for at in range(0, 60000, 10000):
                    client.send(data(stream.id, how['body'][at:at + 10000]))
            if how.get('slow'):
                client.until(lambda: stream.size >= 65535 or stream.over)
                client.until(lambda: stream.over, 0.3)
                client.reset(stream)
                need(stream.status == status, str(stream))
                continue
            need(client.until(lambda: stream.over), f'silence: {stream}, GOAWAY {client.goaway}')
            need(stream.reset is not None or stream.status is not None, str(stream))
            need(status is None or stream.status == status, f'not {status}: {stream}')
    need(world.hostile.requests or how.get('unasked'), 'the upstream was never asked: there was no attack')
    world.hostile.script()
    world.hostile.settings = ()
    world.hostile.drop()
