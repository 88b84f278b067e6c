#!/usr/bin/python3
"""gRPC's C core, by its Python library, as server and as client; messages are bytes, so that nothing is generated. Debian's python3 runs it: grpcio is a package of Debian's.
  python_peer.py serve                            prints its port
  python_peer.py check ADDRESS AUTHORITY [CA]     a line for each kind of call: "ok NAME" or "FAIL NAME: why" """
import concurrent.futures
import sys
import threading
import time

import grpc
from grpc import StatusCode

SERVICE = 'sluice.test.Bytes'
LARGE = 8 * 1024 * 1024
PATIENCE = 60  # with a peer that says nothing: a hang becomes a failure
OPTIONS = [('grpc.max_receive_message_length', 2 * LARGE), ('grpc.max_send_message_length', 2 * LARGE), ('grpc.enable_retries', 0)]


class Server(grpc.GenericRpcHandler):
    def __init__(self):
        self.cancelled = 0
        one, down, up, both = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler, grpc.stream_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        self.methods = {'Unary': one(self.unary), 'Fail': one(self.fail), 'Metadata': one(self.metadata), 'Left': one(self.left), 'Hang': one(self.hang), 'Cancelled': one(self.count),
                        'Down': down(self.down), 'Up': up(self.up), 'Both': both(self.both)}

    def service(self, handler_call_details):
        service, _, method = handler_call_details.method[1:].partition('/')
        return self.methods.get(method) if service == SERVICE else None

    def unary(self, message, _):
        return message

    def fail(self, message, context):
        context.set_trailing_metadata((('x-why', message.decode()), ('x-raw-bin', b'\x00\xff')))
        context.abort(StatusCode.FAILED_PRECONDITION, 'no: 100 % caf\u00e9')

    def metadata(self, message, context):
        context.send_initial_metadata([(k, v) for k, v in context.invocation_metadata() if k.startswith('x-')])
        return message

    def left(self, _, context):
        """The seconds that the caller gives, as they arrived here."""
        return str(context.time_remaining()).encode()

    def hang(self, _, context):
        over = threading.Event()
        context.add_callback(over.set)
        over.wait(PATIENCE)
        self.cancelled += not context.is_active()
        return b''

    def count(self, *_):
        return b'%d' % self.cancelled

    def down(self, message, _):
        for i in range(int(message)):
            yield b'%d' % i

    def up(self, messages, _):
        return b'%d' % sum(map(len, messages))

    def both(self, messages, _):
        yield from messages


def serve():
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(64), options=OPTIONS)
    server.add_generic_rpc_handlers((Server(),))
    print(server.add_insecure_port('127.0.0.1:0'), flush=True)
    server.start()
    server.wait_for_termination()


class Cases:
    """Each method is a case; False or an exception is a failure."""

    def __init__(self, channel):
        one = lambda name: channel.unary_unary(f'/{SERVICE}/{name}')
        self.call_unary, self.call_fail, self.call_metadata, self.call_left = one('Unary'), one('Fail'), one('Metadata'), one('Left')
        self.call_hang, self.call_cancelled, self.call_none = one('Hang'), one('Cancelled'), one('None')
        self.call_down, self.call_up, self.call_both = channel.unary_stream(f'/{SERVICE}/Down'), channel.stream_unary(f'/{SERVICE}/Up'), channel.stream_stream(f'/{SERVICE}/Both')

    def unary(self):
        return all(self.call_unary(b'%d' % i * i, timeout=PATIENCE) == b'%d' % i * i for i in range(100))

    def unary_in_parallel(self):
        calls = [(i, self.call_unary.future(b'%d' % i, timeout=PATIENCE)) for i in range(200)]
        return all(call.result() == b'%d' % i for i, call in calls)

    def large_messages(self):
        message = bytes(range(256)) * (LARGE // 256)
        return self.call_unary(message, timeout=PATIENCE) == message

    def server_stream(self):
        return list(self.call_down(b'1000', timeout=PATIENCE)) == [b'%d' % i for i in range(1000)]

    def client_stream(self):
        return self.call_up((b'x' * i for i in range(300)), timeout=PATIENCE) == b'%d' % sum(range(300))

    def both_ways_in_turns(self):
        """Each message is sent when the one before has come back."""
        back, wanted = threading.Semaphore(1), [b'%d' % i * 50 for i in range(200)]

        def messages():
            for message in wanted:
                back.acquire(timeout=PATIENCE)
                yield message
        got = []
        for message in self.call_both(messages(), timeout=PATIENCE):
            got.append(message)
            back.release()
        return got == wanted

    def both_ways_at_once(self):
        return sum(map(len, self.call_both((b'x' * 10000 for _ in range(500)), timeout=PATIENCE))) == 5000000

    def metadata(self):
        sent = (('x-text', 'a, b'), ('x-twice', '1'), ('x-twice', '2'), ('x-raw-bin', b'\x00\xff\n'))
        _, call = self.call_metadata.with_call(b'', metadata=sent, timeout=PATIENCE)
        return sorted((k, v) for k, v in call.initial_metadata() if k in dict(sent)) == sorted(sent)

    def a_status_in_trailers(self):
        return self.fails(lambda: self.call_fail(b'because', timeout=PATIENCE), StatusCode.FAILED_PRECONDITION, lambda e: e.details() == 'no: 100 % caf\u00e9' and {
            'x-why': 'because', 'x-raw-bin': b'\x00\xff'}.items() <= dict(e.trailing_metadata()).items())

    def an_unknown_method(self):
        return self.fails(lambda: self.call_none(b'', timeout=PATIENCE), StatusCode.UNIMPLEMENTED)

    def a_deadline_travels(self):
        return 10 < float(self.call_left(b'', timeout=20)) < 21  # gRPC rounds up

    def a_deadline_that_passes(self):
        return self.fails(lambda: self.call_hang(b'', timeout=0.3), StatusCode.DEADLINE_EXCEEDED)

    def a_cancelled_call(self):
        before, call = int(self.call_cancelled(b'', timeout=PATIENCE)), self.call_hang.future(b'', timeout=PATIENCE)
        until = time.monotonic() + PATIENCE
        self.call_unary(b'', timeout=PATIENCE)  # the call before it is under way
        call.cancel()
        while int(self.call_cancelled(b'', timeout=PATIENCE)) <= before:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        return call.cancelled()

    @staticmethod
    def fails(call, code, more=lambda _: True):
        try:
            call()
        except grpc.RpcError as e:
            return e.code() == code and more(e)
        return False


def check(address, authority, ca=None):
    options = OPTIONS + [('grpc.default_authority', authority), ('grpc.ssl_target_name_override', authority)]
    if ca:
        with open(ca, 'rb') as f:
            channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(f.read()), options)
    else:
        channel = grpc.insecure_channel(address, options)
    bad = 0
    with channel:
        cases = Cases(channel)
        for name in [n for n in vars(Cases) if not n.startswith('_') and n != 'fails']:
            try:
                why = '' if getattr(cases, name)() else 'not what was expected'
            except (grpc.RpcError, grpc.FutureTimeoutError, ValueError) as e:
                why = repr(e).replace('\n', ' ')
            bad += bool(why)
            print(f'FAIL {name}: {why}' if why else f'ok {name}', flush=True)
    return bad


if __name__ == '__main__':
    sys.exit(serve() if sys.argv[1] == 'serve' else check(*sys.argv[2:]) != 0)
