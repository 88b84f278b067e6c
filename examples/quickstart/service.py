#!/usr/bin/env python3
"""A small service for the quickstart: answers every request with who it is and what it got. usage: service.py NAME PORT (loopback only)."""
import http.server
import json
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def answer(self):
        length = int(self.headers.get('Content-Length') or 0)
        got = self.rfile.read(length)
        body = json.dumps({'service': NAME, 'port': PORT, 'method': self.command, 'path': self.path, 'headers': dict(self.headers.items()), 'bodyBytes': len(got)},
                          indent=2).encode() + b'\n'
        self.send_response(200)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = answer

    def log_message(self, *_):
        pass


NAME, PORT = sys.argv[1], int(sys.argv[2])
server = http.server.ThreadingHTTPServer(('127.0.0.1', PORT), Handler)
server.daemon_threads = True
server.serve_forever()
