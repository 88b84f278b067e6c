#!/usr/bin/env python3
"""A new binary takes over 50 times (SIGUSR2), each time behind a reload, while clients keep their connections (HTTP/1.1, HTTP/2, WebSockets), new ones come and downloads of
30 s run, over both versions. Nobody is refused, nothing is reset, each download is whole (it ends within the grace period of its worker). Counted apart: what HTTP/2 itself
says is to be asked again (GOAWAY, REFUSED_STREAM), and WebSockets that end with 1001 when the grace period of their worker does."""
import os
import signal
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from drills.drill import Drill, size  # noqa: E402
from drills.protocols import KeptH2, KeptWebSocket  # noqa: E402
from lib.gateway import CLASS, PATIENCE, SLOW, Gateway, Origin, ingress, make_certificate, route, service, tls_secret  # noqa: E402
from lib.raw_h2 import Client, Ended, Malformed  # noqa: E402
from lib.websocket import EchoServer  # noqa: E402
from proxy.upgrade_test import PAUSES, Dialer, KeepAlive  # noqa: E402

UPGRADES = size(50, 3)
SECONDS = size(30, 4)   # of a download
PIECE = 1024
GRACE = SECONDS + 30
H2_PAUSES = [(0, False), (0.003, True), (0.2, False), (0.2, True), (1.0, True), (1.1, False)]  # and whether TLS


class Slow(threading.Thread):
    """The origin: every answer is sent in ten pieces a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            while True:
                data = b''
                while b'\r\n\r\n' not in data:
                    got = s.recv(65536)
                    if not got:
                        return
                    data += got
                s.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n' % (SECONDS * 10 * PIECE))
                for i in range(SECONDS * 10):
                    s.sendall(bytes([65 + i % 26]) * PIECE)
                    time.sleep(0.1)
        except OSError:
            pass
        finally:
            s.close()


WHOLE = b''.join(bytes([65 + i % 26]) * PIECE for i in range(SECONDS * 10))


def download_h2(port, out):
    try:
        with Client(port, tls='slow.example') as conn:
            got = conn.request('/download', 'slow.example', scheme='https')
            out.append('' if got.status == 200 and got.ended and got.body == WHOLE else f'HTTP/2: {got.size} of {len(WHOLE)} bytes: {got}, GOAWAY {conn.goaway}')
    except (OSError, Ended, Malformed) as e:
        out.append(f'HTTP/2: {e!r}')


def download(port, out):
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=PATIENCE) as s:
            s.sendall(b'GET /download HTTP/1.1\r\nHost: slow.example\r\n\r\n')
            data = b''
            while b'\r\n\r\n' not in data:
                got = s.recv(65536)
                if not got:
                    raise ConnectionError('closed inside the head')
                data += got
            head, _, data = data.partition(b'\r\n\r\n')
            while len(data) < len(WHOLE):
                got = s.recv(65536)
                if not got:
                    break
                data += got
            out.append('' if head.startswith(b'HTTP/1.1 200') and data == WHOLE else f'{len(data)} of {len(WHOLE)} bytes: {head[:60]!r}')
    except OSError as e:
        out.append(repr(e))


def reload(gw, number):
    """Another table and another setting, both live."""
    gw.write('reload.json', [route('reload', ['reload.example'], [{'filters': [{'type': 'DirectResponse', 'directResponse': {'statusCode': 200, 'body': f'{number}'}}]}])])
    gw.configure(f'timeouts: {{drain: {GRACE}s, keepAlive: {60 + number % 2}s}}\nsslRedirect: false\n')


def main():
    drill = Drill('upgrade', f'{UPGRADES} reloads and new binaries with kept connections (HTTP/1.1, HTTP/2, WebSockets), new connections, downloads of {SECONDS} s over both versions')
    slow, begun = Slow(), []

    def grace_is_over(since):
        """Whether the first new binary after this moment came so long ago that the worker before it may end its WebSockets."""
        first = next((t for t in begun if t >= since), None)
        return first is not None and time.monotonic() - first >= GRACE - 1

    with Origin(1) as origin, EchoServer() as echo, Gateway([CLASS], https=True, workers=2, config=f'timeouts: {{drain: {GRACE}s}}\nsslRedirect: false\n') as gw:
        certificates = [tls_secret(f'{name}-tls', *make_certificate(gw.work, f'{name}.example')) for name in ('a', 'slow')]
        gw.write('all.json', certificates + service('web', origin.ports) + service('slow', [slow.port]) + service('echo', [echo.port]) + [
            ingress('web', 'a.example', 'web', tls='a-tls'), ingress('slow', 'slow.example', 'slow', tls='slow-tls'), ingress('echo', 'echo.example', 'echo')])
        gw.until(lambda: gw.get('/')[0] == 200, what='the first state')
        clients, dialers, downloads, threads = [KeepAlive(gw.http, p) for p in PAUSES], [Dialer(gw.http) for _ in range(2)], [], []
        kept = [KeptH2(gw.https if tls else gw.http, 'a.example', pause, tls) for pause, tls in H2_PAUSES]
        sockets = [KeptWebSocket(gw.http, 'echo.example', pause, may_close=grace_is_over) for pause in (0.05, 0.2, 1.0)]
        everybody = clients + dialers + kept + sockets
        for c in everybody:
            c.start()
        gw.until(lambda: all(c.answered or c.failed for c in everybody), what='everybody is served')
        for i in range(UPGRADES):
            if i % size(4, 1) == 0:
                for one, port in ((download, gw.http), (download_h2, gw.https)):
                    threads.append(threading.Thread(target=one, args=(port, downloads), daemon=True))
                    threads[-1].start()
                time.sleep(0.2)
            reload(gw, i)
            before = set(gw.pids('worker'))
            begun.append(time.monotonic())
            os.kill(gw.pids('master')[0], signal.SIGUSR2)
            gw.until(lambda: len(set(gw.pids('worker')) - before) >= 2 and 'sluice_workers_ready 2\n' in gw.metrics(), 30, 'new workers')
            gw.until(lambda: gw.get('/', host='reload.example')[2] == str(i).encode(), what='the reload is live')
            time.sleep(0.3)
        for t in threads:
            t.join(SECONDS + 60 * SLOW)
        for c in everybody:
            c.go = False
        for c in everybody:
            c.join()
        failed = [f'{type(c).__name__}: {f}' for c in everybody for f in c.failed]
        drill.need(not failed, f'{len(failed)} failed, the first {failed[:3]}')
        bad = [o for o in downloads if o]
        drill.need(not bad and len(downloads) == len(threads), f'{len(downloads)} of {len(threads)} downloads ended, {len(bad)} badly: {bad[:3]}')
        drill.need(all(c.goaways for c in kept), f'new binaries, and connections without GOAWAY: {[c.goaways for c in kept]}')
        total = lambda what, of: sum(getattr(c, what) for c in of)
        drill.done(upgrades=UPGRADES, answered=total('answered', clients + dialers), answered_h2=total('answered', kept), websocket_messages=total('answered', sockets), failed=len(failed),
                   sent_again_after_a_clean_end=total('repeated', clients), h2_goaways=total('goaways', kept), h2_sent_again_beyond_goaway=total('beyond_goaway', kept),
                   h2_sent_again_refused_stream=total('refused_streams', kept), websockets_closed_at_the_end_of_grace=total('closed_at_the_end', sockets), downloads_whole=downloads.count(''))


if __name__ == '__main__':
    main()
