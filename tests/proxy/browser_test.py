#!/usr/bin/env python3
"""A browser (Chromium, headless) loads a page of 100 objects over HTTP/2: all of them arrive whole, as streams of one connection. Left out, and said so, where there is no
chromium (hack/deps test installs it)."""
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, Gateway, ingress, make_certificate, service, tls_secret, until  # noqa: E402

HOST = 'page.example'
OBJECTS = 100
PAGE = """<!doctype html><title>loading</title><pre id=sums></pre><script>
const hex = (sum) => Array.from(new Uint8Array(sum), (b) => b.toString(16).padStart(2, '0')).join('');
const get = async (i) => {
  const answer = await fetch('/object/' + i);
  return i + ' ' + answer.status + ' ' + hex(await crypto.subtle.digest('SHA-256', await answer.arrayBuffer()));
};
Promise.all([...Array(%d).keys()].map(get)).then((all) => {
  const protocols = new Set(performance.getEntriesByType('resource').filter((e) => e.name.includes('/object/')).map((e) => e.nextHopProtocol));
  sums.textContent = all.join('\\n') + '\\nprotocols ' + [...protocols].join(' ');
  document.title = 'done';
}, (error) => { document.title = 'failed: ' + error; });
</script>""" % OBJECTS


def content(i):
    return hashlib.sha256(b'object %d' % i).digest() * (i * 17 + 1)


@unittest.skipUnless(shutil.which('chromium'), 'no chromium')
class Browser(unittest.TestCase):
    def test_a_page_of_many_objects(self):
        work = tempfile.mkdtemp(prefix='sluice-browser.')
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        log = os.path.join(work, 'access.log')

        class Page(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self):
                body = content(int(self.path.rsplit('/', 1)[1])) if self.path.startswith('/object/') else PAGE.encode()
                self.send_response(200 if self.path == '/' or self.path.startswith('/object/') else 404)
                self.send_header('Content-Type', 'text/html' if self.path == '/' else 'application/octet-stream')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads, request_queue_size = True, 256

        with Server(('127.0.0.1', 0), Page) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.shutdown)
            objects = [CLASS, tls_secret('cert', *make_certificate(work, HOST))] + service('page', [server.server_address[1]]) + [ingress('page', HOST, 'page', tls='cert')]
            with Gateway(objects, https=True, config='accessLog: {path: %s}\n' % log) as gateway:
                done = subprocess.run(
                    ['chromium', '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--disable-extensions', '--disable-background-networking',
                     '--disable-component-update', '--disable-quic', f'--user-data-dir={work}/profile', '--ignore-certificate-errors', f'--host-resolver-rules=MAP {HOST} 127.0.0.1',
                     f'--timeout={int(PATIENCE * 1000)}', '--virtual-time-budget=600000', '--dump-dom', f'https://{HOST}:{gateway.https}/'],
                    capture_output=True, text=True, timeout=3 * PATIENCE, stdin=subprocess.DEVNULL, env=dict(os.environ, HOME=work))
                self.assertIn('<title>done</title>', done.stdout, done.stdout[-800:] + done.stderr[-800:])
                for i in range(OBJECTS):
                    self.assertIn(f'{i} 200 {hashlib.sha256(content(i)).hexdigest()}\n', done.stdout)
                self.assertIn('protocols h2\n', done.stdout.replace('</pre>', '\n'))
                until(lambda: len(self.objects_of(log)) >= OBJECTS, PATIENCE, 'the log has every object')
                entries = self.objects_of(log)
                self.assertEqual({e['protocol'] for e in entries}, {'HTTP/2'})
                self.assertEqual({e['status'] for e in entries}, {200})

    @staticmethod
    def objects_of(log):
        if not os.path.exists(log):
            return []
        with open(log) as f:
            entries = [json.loads(line) for line in f if line.endswith('\n')]
        return [e for e in entries if re.fullmatch(r'/object/\d+', e['path'])]


if __name__ == '__main__':
    unittest.main(verbosity=2)
