#!/usr/bin/env python3
"""Answers of the origin cut at every byte (clean end or reset): Content-Length, chunked, with trailers; plain and TLS towards the client. What the client sees never ends as a
whole answer does, unless it is whole: by the length, by the last chunk, over TLS with close_notify. After that the gateway goes on."""
import os
import socket
import ssl
import struct
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import Drill, size  # noqa: E402
from lib.gateway import CLASS, Gateway, ingress, make_certificate, service, tls_secret  # noqa: E402
from lib.raw_http import Cut, Malformed, Reader  # noqa: E402

BODY = b'0123456789' * 6
FORMS = {'length': b'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 60\r\n\r\n' + BODY,
         'chunked': b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' + b'14\r\n' + BODY[:20] + b'\r\n28;x=y\r\n' + BODY[20:] + b'\r\n0\r\n\r\n',
         'trailers': b'HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n3c\r\n' + BODY + b'\r\n0\r\nx-sum: 1\r\n\r\n'}
STEP = size(1, 7)


class Upstream:
    """Reads a request, sends so many bytes of the answer, ends: FIN or RST."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=256)
        self.port, self.answer, self.reset = self.listener.getsockname()[1], b'', False
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            s, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        reader = Reader(s)
        try:
            if reader.request() is None:
                return
            s.sendall(self.answer)
            if self.reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            else:
                s.shutdown(socket.SHUT_WR)
                s.recv(1)
        except (OSError, Cut):
            pass
        finally:
            s.close()


def ask(port, context):
    """'whole', 'cut', the status of an answer made here, or what is wrong."""
    with socket.create_connection(('127.0.0.1', port), timeout=20) as raw:
        s = context.wrap_socket(raw, server_hostname='tls.example', suppress_ragged_eofs=False) if context else raw
        s.sendall(b'GET / HTTP/1.1\r\nHost: tls.example\r\n\r\n' if context else b'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n')
        reader = Reader(s)
        try:
            answer = reader.answer()
        except (Cut, ssl.SSLEOFError, ConnectionResetError):
            return 'cut'
        except ssl.SSLError as e:
            return f'broken TLS: {e}'
        except Malformed as e:
            return f'malformed: {e}'
        if answer.until_close:
            return 'ends by close: a cut one would look like a whole one'
        if answer.start[0] != 200:
            return str(answer.start[0])
        return 'whole' if answer.body == BODY else f'ended well with {len(answer.body)} of {len(BODY)} bytes'


def main():
    drill = Drill('cut-answers', f'answers cut {"at every byte" if STEP == 1 else f"every {STEP} bytes"}: {", ".join(FORMS)}; FIN and RST; plain and TLS')
    upstream = Upstream()
    seen, bad, tried = {}, [], 0
    with Gateway([CLASS] + service('web', [upstream.port]) + [ingress('web', 'a.example', 'web')], https=True) as gw:
        pair = make_certificate(gw.work, 'tls.example')
        gw.write('tls.json', [tls_secret('tls', *pair), ingress('tls', 'tls.example', 'web', tls='tls')])
        upstream.answer = FORMS['length']
        gw.until(lambda: gw.get('/', host='tls.example')[0] == 308, what='the TLS host is there')
        for context in (None, ssl.create_default_context(cafile=pair[0])):
            for form, whole in FORMS.items():
                for upstream.reset in (False, True):
                    for upto in [*range(0, len(whole), STEP), len(whole)]:
                        upstream.answer = whole[:upto]
                        got = ask(gw.https if context else gw.http, context)
                        tried += 1
                        seen[got] = seen.get(got, 0) + 1
                        # Whole only if all of it came; in a head that is not whole: our own 502. A reset may overtake what was sent.
                        wanted = ({'whole'} if upto == len(whole) else {'cut', '502'}) | ({'cut', '502'} if upstream.reset else set())
                        if got not in wanted:
                            bad.append((form, 'TLS' if context else 'plain', 'RST' if upstream.reset else 'FIN', upto, got))
        upstream.answer, upstream.reset = FORMS['length'], False
        drill.need(ask(gw.http, None) == 'whole', 'the gateway does not go on')
    drill.need(not bad, f'{len(bad)}: {bad[:5]}')
    drill.done(answers=tried, seen=seen, wrong=len(bad))


if __name__ == '__main__':
    main()
