"""Good clients beside the fuzzed ones: HTTP/1.1 and HTTP/2, on connections of their own to the same worker, one request after the other until stdin ends. Prints one
line of JSON: how many answers, what was wrong, latencies. A process of its own, so that its latencies are not those of the fuzzer's loop."""
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))
from lib import raw_h2, raw_http  # noqa: E402
from lib.gateway import PATIENCE  # noqa: E402


class Neighbour(threading.Thread):
    def __init__(self, port, host, version):
        super().__init__(daemon=True)
        self.port, self.host, self.version, self.stopped = port, host, version, False
        self.times, self.wrong = [], []

    def run(self):
        try:
            (self.http1 if self.version == 1 else self.http2)()
        except Exception as error:  # whatever it is, it is harm
            self.wrong.append(f'HTTP/{self.version} {self.host}: {type(error).__name__}: {error}')

    def judge(self, target, status, body, began):
        self.times.append(time.monotonic() - began)
        if status != 200 or target.encode() not in bytes(body):
            self.wrong.append(f'HTTP/{self.version} {self.host} {target}: {status} {bytes(body)[:100]!r}')
        time.sleep(0.005)

    def http1(self):
        with socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE) as sock:
            reader = raw_http.Reader(sock)
            while not self.stopped or not self.times:  # one at least, however short it was
                target, began = f'/n/1.{self.host}.{len(self.times)}', time.monotonic()
                sock.sendall(f'GET {target} HTTP/1.1\r\nHost: {self.host}\r\n\r\n'.encode())
                answer = reader.answer()
                self.judge(target, answer.start[0], answer.body, began)

    def http2(self):
        with raw_h2.Client(self.port) as client:
            while not self.stopped or not self.times:  # one at least, however short it was
                target, began = f'/n/2.{self.host}.{len(self.times)}', time.monotonic()
                answer = client.request(target, self.host)
                self.judge(target, answer.status if answer.ended else None, answer.body, began)
                for old in list(client.streams)[:-100]:
                    del client.streams[old]


def main():
    all_of_them = [Neighbour(int(sys.argv[1]), host, version) for host in ('a.example', 'b.example') for version in (1, 2)]
    for one in all_of_them:
        one.start()
    sys.stdin.read()
    for one in all_of_them:
        one.stopped = True
        one.join(PATIENCE)
    times = sorted(t for one in all_of_them for t in one.times)
    at = lambda part: round(1000 * times[min(len(times) - 1, int(part * len(times)))], 2) if times else None
    wrong = [w for one in all_of_them for w in one.wrong]
    print(json.dumps({'answers': len(times), 'wrong': wrong, 'alive': all(one.times for one in all_of_them), 'p50_ms': at(0.5), 'p99_ms': at(0.99), 'max_ms': at(1)}), flush=True)


if __name__ == '__main__':
    main()
