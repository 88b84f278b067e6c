"""What an HTTP/2 client may do to the gateway: ATTACKS[name](world)."""
import struct
import time

from h2_attack_tools import GET, HANG, LARGE, POST, Attacker, need
from lib import hpack, raw_h2
from lib.gateway import PATIENCE
from lib.raw_h2 import (CONTINUATION, DATA, END_HEADERS, INITIAL_WINDOW_SIZE, PADDED, PREFACE, PRIORITY, PRIORITY_UPDATE, SETTINGS, Ended, data, frame, goaway, headers, ping,
                        request_fields, reset, settings, window_update)

ATTACKS = {}


def attack(function):
    ATTACKS[function.__name__.replace('_', '-')] = function
    return function


def must_be_thrown_out(world, make, count, batch=200, before=None, more=()):
    with Attacker(world, more) as a:
        if before:
            before(a)
        a.flood(lambda: make(a), count, batch)
        a.must_end()


@attack
def rapid_reset(world):
    """Requests that are taken back at once: work for the upstream that the limit of streams does not see."""
    before = world.origin.count('/ok?rapid')
    block = hpack.block(request_fields('/ok?rapid'))
    must_be_thrown_out(world, lambda a: headers(s := a.stream(), block) + reset(s), 50000)
    need(world.origin.count('/ok?rapid') - before < 5000, f'{world.origin.count("/ok?rapid") - before} requests reached the upstream')


@attack
def rapid_reset_of_open_requests(world):
    must_be_thrown_out(world, lambda a: headers(s := a.stream(), POST, False) + reset(s), 50000)


@attack
def rapid_reset_behind_a_body(world):
    must_be_thrown_out(world, lambda a: headers(s := a.stream(), POST, False) + data(s, b'x') + reset(s), 50000)


@attack
def rapid_reset_slowly(world):
    """One after the other, each when the one before is surely under way: no burst, and still nothing but cancelled work."""
    with Attacker(world) as a:
        for _ in range(3000):
            s = a.stream()
            try:
                a.send(headers(s, HANG), ping(b'%08d' % s), reset(s))
                a.until(lambda s=s: a.gone() or b'%08d' % s in a.pongs)
            except Ended:
                break
            a.pongs.clear()
            if a.gone():
                break
        a.must_end()


def made_you_reset(world, wrong, block=HANG, end=True, count=20000):
    """The server's own RST_STREAM ends the stream for the count of streams, and the upstream's work goes on."""
    must_be_thrown_out(world, lambda a: headers(s := a.stream(), block, end) + wrong(s), count)


@attack
def made_you_reset_by_window_update_of_nothing(world):
    made_you_reset(world, lambda s: window_update(s, 0))


@attack
def made_you_reset_by_window_overflow(world):
    made_you_reset(world, lambda s: window_update(s, 0x7fffffff))


@attack
def made_you_reset_by_priority_size(world):
    made_you_reset(world, lambda s: frame(PRIORITY, 0, s, b'1234'))


@attack
def made_you_reset_by_data_behind_the_end(world):
    made_you_reset(world, lambda s: data(s, b'x'))


@attack
def made_you_reset_by_headers_behind_the_end(world):
    made_you_reset(world, lambda s: headers(s, [(b'x-a', b'1')]))


@attack
def made_you_reset_by_content_length(world):
    block = hpack.block(request_fields('/ok', method='POST', more=[('content-length', '1')]))
    made_you_reset(world, lambda s: data(s, b'too much'), block, False)


@attack
def made_you_reset_by_trailers(world):
    made_you_reset(world, lambda s: headers(s, [(b':path', b'/')]), POST, False)


@attack
def made_you_reset_by_bad_heads(world):
    block = GET + hpack.literal(b'X-Upper', b'1')
    made_you_reset(world, lambda s: b'', block)


@attack
def made_you_reset_by_empty_heads(world):
    made_you_reset(world, lambda s: b'', b'')


@attack
def more_streams_than_allowed(world):
    must_be_thrown_out(world, lambda a: headers(a.stream(), HANG), 20000, 500)


@attack
def answers_taken_back(world):
    """Large answers, reset when they begin."""
    with Attacker(world) as a:
        for _ in range(200):
            s, got = a.stream(), a.answered
            try:
                a.send(headers(s, LARGE))
                a.until(lambda got=got: a.gone() or a.answered > got)
                a.send(reset(s), window_update(0, 60000))
            except Ended:
                break
            if a.gone():
                break


@attack
def continuation_flood(world):
    must_be_thrown_out(world, lambda a: frame(CONTINUATION, 0, 1, hpack.literal(b'x-a', b'y' * 50)), 100000, before=lambda a: a.send(headers(a.stream(), GET, whole=False)))


@attack
def continuation_flood_of_nothing(world):
    must_be_thrown_out(world, lambda a: frame(CONTINUATION, 0, 1), 200000, 1000, before=lambda a: a.send(headers(a.stream(), GET, whole=False)))


@attack
def continuation_flood_of_full_frames(world):
    must_be_thrown_out(world, lambda a: frame(CONTINUATION, 0, 1, bytes(16384)), 2000, 10, before=lambda a: a.send(headers(a.stream(), GET, whole=False)))


@attack
def ping_flood(world):
    must_be_thrown_out(world, lambda _: ping(), 200000, 500)


@attack
def ping_flood_unread(world):
    """The answers queue up where nobody reads them."""
    with Attacker(world, receive_buffer=4096) as a:
        a.push(ping() * 400000, 3)
        a.must_end()


@attack
def settings_flood(world):
    must_be_thrown_out(world, lambda _: settings(), 100000, 500)


@attack
def settings_flood_unread(world):
    with Attacker(world, receive_buffer=4096) as a:
        a.push(settings((INITIAL_WINDOW_SIZE, 65535)) * 200000, 3)
        a.must_end()


@attack
def settings_of_many_values(world):
    must_be_thrown_out(world, lambda _: settings(*[(INITIAL_WINDOW_SIZE, 65535 + i % 2) for i in range(2000)]), 5000, 5, before=lambda a: a.send(*(headers(a.stream(), HANG) for _ in range(50))))


@attack
def settings_acknowledged_that_nobody_sent(world):
    must_be_thrown_out(world, lambda _: frame(SETTINGS, raw_h2.ACK), 100000, 500)


@attack
def priority_flood(world):
    must_be_thrown_out(world, lambda a: frame(PRIORITY, 0, a.stream(), struct.pack('>IB', 0, 15)), 300000, 500)


@attack
def priority_flood_on_one_stream(world):
    must_be_thrown_out(world, lambda a: frame(PRIORITY, 0, 1, struct.pack('>IB', 0, 15)), 300000, 500, before=lambda a: a.send(headers(a.stream(), HANG)))


@attack
def priority_update_flood(world):
    must_be_thrown_out(world, lambda a: frame(PRIORITY_UPDATE, 0, 0, struct.pack('>I', a.stream()) + b'u=1'), 300000, 500)


@attack
def window_update_flood(world):
    must_be_thrown_out(world, lambda _: window_update(0, 1), 300000, 500)


@attack
def window_update_flood_on_a_stream(world):
    must_be_thrown_out(world, lambda _: window_update(1, 1), 300000, 500, before=lambda a: a.send(headers(a.stream(), HANG)))


@attack
def window_update_flood_on_a_closed_stream(world):
    """Looked at and forgotten: it costs less than reading it, so nobody has to be thrown out."""
    with Attacker(world) as a:
        a.send(headers(a.stream(), GET), reset(1))
        a.flood(lambda: window_update(1, 1), 100000, 500)


@attack
def empty_data_flood(world):
    must_be_thrown_out(world, lambda _: data(1), 300000, 500, before=lambda a: a.send(headers(a.stream(), POST, False)))


@attack
def padding_flood(world):
    """DATA of padding alone: it uses the window and says nothing."""
    must_be_thrown_out(world, lambda _: data(1, b'', pad=255), 20000, 50, before=lambda a: a.send(headers(a.stream(), POST, False)))


@attack
def one_byte_in_much_padding(world):
    """Nothing is wrong with it; it is bounded by the window like any body."""
    with Attacker(world) as a:
        a.send(headers(a.stream(), POST, False))
        a.flood(lambda: data(1, b'x', pad=255), 5000, 50)


@attack
def unknown_frames(world):
    must_be_thrown_out(world, lambda _: frame(0xbb, 255, 1, b'x' * 8), 300000, 500)


@attack
def unknown_frames_of_full_size(world):
    with Attacker(world) as a:
        a.flood(lambda: frame(0xbb, 0, 0, bytes(16384)), 3000, 20)


@attack
def hpack_bomb(world):
    """An entry of 3.9 KiB said once, and then 16,000 times by a byte each: 60 MiB out of 20 KiB."""
    with Attacker(world) as a:
        a.send(headers(s := a.stream(), GET + hpack.literal(b'x-a', b'y' * 3900, index=True) + hpack.indexed(62) * 12000))
        a.until(lambda: a.gone() or a.answered or a.resets)
        need(a.gone() or a.answered or a.resets, f'no reaction to stream {s}')


@attack
def hpack_bomb_on_many_streams(world):
    with Attacker(world) as a:
        a.send(headers(a.stream(), GET + hpack.literal(b'x-a', b'y' * 3900, index=True)))
        a.flood(lambda: headers(a.stream(), GET + hpack.indexed(62) * 200), 5000, 20)
        need(a.gone() or a.answered, 'neither answered nor gone')


@attack
def hpack_bomb_in_trailers(world):
    with Attacker(world) as a:
        a.send(headers(1, POST, False), headers(1, hpack.literal(b'x-a', b'y' * 3900, index=True) + hpack.indexed(62) * 12000))
        a.until(lambda: a.gone() or a.answered or a.resets)
        need(a.gone() or a.answered or a.resets, 'no reaction')


@attack
def hpack_table_sizes(world):
    """A block of nothing but table size updates."""
    with Attacker(world) as a:
        a.flood(lambda: headers(a.stream(), (hpack.table_size(0) + hpack.table_size(4096)) * 2000 + GET), 500, 5)
        a.until(lambda: a.gone() or a.answered or a.resets)
        need(a.gone() or a.answered or a.resets, 'no reaction')


@attack
def hpack_table_churn(world):
    """Every field evicts another."""
    with Attacker(world) as a:
        number = iter(range(10 ** 9))
        a.flood(lambda: headers(a.stream(), GET + b''.join(hpack.literal(b'x-%d' % next(number), b'z' * 60, index=True) for _ in range(50))), 2000, 20)


@attack
def cookie_crumbs(world):
    """Crumbs join: the count of fields and their size must be seen before that."""
    with Attacker(world) as a:
        a.send(headers(a.stream(), GET + hpack.literal(b'cookie', b'a=b', index=True) + hpack.indexed(62) * 15000))
        a.until(lambda: a.gone() or a.answered or a.resets)
        need(a.gone() or a.answered or a.resets, 'no reaction')


@attack
def cookie_crumbs_again_and_again(world):
    must = GET + hpack.literal(b'cookie', b'a=b', index=True)
    with Attacker(world) as a:
        a.send(headers(a.stream(), must))
        a.flood(lambda: headers(a.stream(), GET + hpack.indexed(62) * 10000), 500, 5)
        need(a.gone() or a.answered or a.resets, 'no reaction')


def hold_windows(world, more, streams, gather=0.3, connection=0):
    with Attacker(world, more) as a:
        if connection:
            a.send(window_update(0, connection))
        a.send(*(headers(a.stream(), LARGE) for _ in range(streams)))
        a.until(lambda: a.gone() or a.answered >= streams)
        a.until(a.gone, gather)  # what can be held is being gathered now


@attack
def zero_windows_held(world):
    """A hundred answers of 1 MiB that nobody takes."""
    hold_windows(world, [(INITIAL_WINDOW_SIZE, 0)], 100)


@attack
def zero_windows_held_on_many_connections(world):
    connections = []
    for _ in range(12):
        a = Attacker(world, [(INITIAL_WINDOW_SIZE, 0)])
        a.send(*(headers(a.stream(), LARGE) for _ in range(20)))
        connections.append(a)
    for a in connections:
        a.until(lambda a=a: a.gone() or a.answered >= 20)
    for a in connections:
        a.close()


@attack
def connection_window_held(world):
    hold_windows(world, [(INITIAL_WINDOW_SIZE, 0x7fffffff)], 100)


@attack
def windows_of_a_byte(world):
    """Answers by the byte."""
    with Attacker(world, [(INITIAL_WINDOW_SIZE, 1)]) as a:
        a.send(*(headers(a.stream(), LARGE) for _ in range(50)))
        for _ in range(30):
            if a.flood(lambda: b''.join(window_update(s, 1) for s in range(1, 100, 2)), 1):
                break


@attack
def windows_that_shrink(world):
    """SETTINGS make windows negative, again and again."""
    with Attacker(world) as a:
        a.send(*(headers(a.stream(), LARGE) for _ in range(50)))
        a.flood(lambda: settings((INITIAL_WINDOW_SIZE, 0)) + settings((INITIAL_WINDOW_SIZE, 100000)), 200, 5)


@attack
def sockets_that_nobody_reads(world):
    """Windows wide open, and the answers stay in the socket."""
    connections = []
    for _ in range(10):
        a = Attacker(world, [(INITIAL_WINDOW_SIZE, 0x7fffffff)], receive_buffer=4096)
        a.send(window_update(0, 0x7fffffff - 65535), *(headers(a.stream(), LARGE) for _ in range(50)))
        connections.append(a)
    time.sleep(1)
    for a in connections:
        a.close()


@attack
def streams_opened_and_abandoned(world):
    for _ in range(30):
        with Attacker(world) as a:
            a.send(*(headers(a.stream(), HANG) for _ in range(90)))
            a.until(lambda a=a: a.gone() or a.settings_seen)


@attack
def bodies_opened_and_abandoned(world):
    for _ in range(30):
        with Attacker(world) as a:
            a.send(*(headers(s := a.stream(), POST, False) + data(s, b'x' * 500) for _ in range(90)))
            a.until(lambda a=a: a.gone() or a.settings_seen)


def all_end(connections):
    try:
        for a in connections:
            a.must_end()
    finally:
        for a in connections:
            a.close()


@attack
def half_header_blocks(world):
    """HEADERS whose end never comes."""
    connections = [Attacker(world) for _ in range(100)]
    for a in connections:
        a.send(headers(a.stream(), GET[:10], whole=False))
    all_end(connections)


@attack
def half_frames(world):
    connections = [Attacker(world) for _ in range(100)]
    for a in connections:
        a.send(headers(a.stream(), GET)[:15])
    all_end(connections)


@attack
def dripping_header_block(world):
    """A byte now and then: a deadline for the whole, not for each byte."""
    with Attacker(world) as a:
        a.send(headers(1, GET, whole=False))
        for _ in range(int(PATIENCE * 10)):
            try:
                a.send(frame(CONTINUATION, 0, 1, b''))
            except Ended:
                break
            if a.until(a.gone, 0.1):
                break
        a.must_end()


@attack
def slow_preface(world):
    connections = [Attacker(world, start=False) for _ in range(100)]
    for a in connections:
        a.send(PREFACE[:7])
    all_end(connections)


@attack
def preface_without_settings(world):
    connections = [Attacker(world, start=False) for _ in range(50)]
    for a in connections:
        a.send(PREFACE)
    all_end(connections)


@attack
def wrong_preface(world):
    with Attacker(world, start=False) as a:
        a.send(PREFACE[:-4] + b'XX\r\n' + settings())
        a.until(lambda: a.closed)
        need(a.closed, 'the connection stays open')


@attack
def idle_connections(world):
    """Hundreds that say nothing behind their SETTINGS."""
    connections = [Attacker(world) for _ in range(400)]
    for a in connections:
        a.until(lambda a=a: a.gone() or a.settings_seen)
    for a in connections:
        a.close()


@attack
def dripping_bodies(world):
    """Bodies by the byte, then silence: the deadline of a body ends each stream."""
    with Attacker(world) as a:
        streams = [a.stream() for _ in range(50)]
        a.send(*(headers(s, POST, False) for s in streams))
        for _ in range(5):
            a.send(*(data(s, b'x') for s in streams))
            a.until(a.gone, 0.05)
        a.until(lambda: a.gone() or a.answered + sum(a.resets.values()) >= len(streams))
        need(a.gone() or a.answered + sum(a.resets.values()) >= len(streams), f'{a.answered} answers, resets {a.resets}')


@attack
def giant_content_length(world):
    block = hpack.block(request_fields('/ok', method='POST', more=[('content-length', '9223372036854775807')]))
    with Attacker(world) as a:
        a.send(*(headers(s := a.stream(), block, False) + data(s, b'x' * 100) for _ in range(50)))
        a.until(a.gone, 0.2)


@attack
def data_over_the_window(world):
    """The stream ends or the connection; the bytes are kept nowhere."""
    with Attacker(world) as a:
        a.send(headers(a.stream(), HANG, False))
        a.flood(lambda: data(1, bytes(16384)), 2000, 10)
        a.until(lambda: a.gone() or a.resets or a.answered)
        need(a.gone() or a.resets, f'{a.answered} answers and no reset')


@attack
def oversized_frame(world):
    with Attacker(world) as a:
        a.send(frame(DATA, 0, 1, b'', length=0xffffff))
        a.must_end()


@attack
def oversized_continuation(world):
    """One large frame instead of many; a good one but for its size."""
    with Attacker(world) as a:
        a.push(headers(1, GET, whole=False) + frame(CONTINUATION, END_HEADERS, 1, hpack.literal(b'x-a', b'y' * 20000)))
        a.must_end()


@attack
def oversized_headers(world):
    with Attacker(world) as a:
        a.push(headers(1, GET + hpack.literal(b'x-a', b'y' * 70000)))
        a.must_end()


@attack
def padding_over_the_frame(world):
    with Attacker(world) as a:
        a.send(headers(1, POST, False), frame(DATA, PADDED, 1, b'\xff123'))
        a.must_end()


@attack
def stream_numbers(world):
    for wrong in (headers(2, GET), headers(0, GET), headers(5, GET) + headers(3, GET), data(9, b'x'), reset(9), window_update(9, 1)):
        with Attacker(world) as a:
            a.send(wrong)
            a.must_end(f'after {wrong[:20]!r} it is not disconnected')


@attack
def frames_inside_a_header_block(world):
    for wrong in (ping(), data(1), headers(3, GET), frame(CONTINUATION, END_HEADERS, 3), frame(0xbb, 0, 0)):
        with Attacker(world) as a:
            a.send(headers(1, GET, whole=False) + wrong)
            a.must_end(f'after {wrong[:20]!r} it is not disconnected')


@attack
def goaway_flood(world):
    with Attacker(world) as a:
        a.send(headers(a.stream(), GET))
        a.flood(lambda: goaway(0, 0, b'x' * 1000), 3000, 50)


@attack
def goaway_and_on(world):
    """It says that it goes, and asks on."""
    with Attacker(world) as a:
        a.send(goaway(0, 0))
        a.flood(lambda: headers(a.stream(), GET), 2000, 50)


@attack
def expectations_abandoned(world):
    block = hpack.block(request_fields('/ok', method='POST', more=[('expect', '100-continue')]))
    with Attacker(world) as a:
        a.send(*(headers(a.stream(), block, False) for _ in range(90)))
        a.until(a.gone, 0.2)


@attack
def tunnels_abandoned(world):
    fields = [(b':method', b'CONNECT'), (b':protocol', b'websocket'), (b':scheme', b'http'), (b':path', b'/hang'), (b':authority', b'a.example'), (b'sec-websocket-version', b'13')]
    for _ in range(10):
        with Attacker(world) as a:
            a.send(*(headers(s := a.stream(), hpack.block(fields), False) + data(s, b'x' * 1000) for _ in range(50)))
            a.until(a.gone, 0.05)
