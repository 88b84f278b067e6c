#!/usr/bin/env python3
"""A double of the Kubernetes API server that misbehaves on request. Only the standard library; one thread a connection.

usage: fake_apiserver.py CERT KEY [CLIENT_CA]
Speaks TLS on a free port of 127.0.0.1 and is driven by one JSON command a line on stdin, each answered by one JSON line on stdout:
  {"op": "put", "path": "/api/v1/configmaps", "object": {...}}        create or replace; metadata.resourceVersion and uid are set here
  {"op": "delete", "path": ..., "ns": ..., "name": ...}
  {"op": "state"}       {"path": {"ns/name": "resourceVersion"}}
  {"op": "get", "path": ..., "ns": ..., "name": ...}
  {"op": "fault", "on": "list|watch|event|call", "what": ..., "path": "substring", "times": 1, ...}   see FAULTS below
  {"op": "clear"}       forget armed faults; {"op": "armed"} counts them
  {"op": "compact"}     history up to now is gone (410 for older versions)
  {"op": "restore"}     etcd was restored from a backup: versions begin anew and lower, there is no history, watches from newer ones get 504
  {"op": "down"}, {"op": "up"}, {"op": "cut"}     listener and connections; connections only
  {"op": "freeze"}, {"op": "thaw"}                every connection there is stays open and never says anything again; new ones wait for thaw
  {"op": "tokens", "accept": ["..."]}, {"op": "certificate", "cert": ..., "key": ...}, {"op": "pages", "size": N}, {"op": "bookmarks", "seconds": S}
  {"op": "absent", "path": ..., "absent": true}   404, as for a kind whose CRD is not installed
  {"op": "told"}        {"path": version}: the newest version that a watch of that path has told, by event or bookmark
  {"op": "requests"}    ["GET /...", ...] since the last time
FAULTS  list:  status (code, retry_after), expire (410 if it has a continue token), cut, slow (seconds), garbage, no_version, type, forever
        watch: status, type, hang
        event: gone (ERROR 410), error (code), half_line, garbage, oversized, duplicate, reorder, silent, unknown
        call (any other): status
"""
import itertools
import json
import select
import socket
import ssl
import sys
import threading
import time
import urllib.parse

PLURALS = {"ingresses": "Ingress", "ingressclasses": "IngressClass", "services": "Service", "endpointslices": "EndpointSlice", "secrets": "Secret",
           "configmaps": "ConfigMap", "namespaces": "Namespace", "routes": "Route", "ratelimitpolicies": "RateLimitPolicy", "events": "Event"}


class Closed(Exception):
    pass


class Server:
    def __init__(self, cert, key, client_ca):
        self.changed = threading.Condition()
        self.version = 100
        self.objects = {}  # (collection, ns, name) -> object
        self.log = []      # (version, type, collection, object)
        self.compacted = 0
        self.faults = []
        self.tokens = None
        self.absent = set()
        self.page_size = 500
        self.bookmark_seconds = 60.0
        self.requests = []
        self.told = {}
        self.tokens_made = itertools.count(1)
        self.rests = {}  # continue token -> (version, items still to be listed)
        self.connections = set()
        self.frozen = threading.Event()
        self.freeze_count = 0
        self.client_ca = client_ca
        self.set_certificate(cert, key)
        self.port = 0
        self.listener = None
        self.up()

    def set_certificate(self, cert, key):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        if self.client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.client_ca)
        self.context = context

    def up(self):
        if self.listener:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for _ in range(3000):  # the accepting thread may not have let go of the port yet
            try:
                listener.bind(("127.0.0.1", self.port))
                break
            except OSError:
                time.sleep(0.02)
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self.listener = listener
        threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                ready, _, _ = select.select([listener], [], [], 0.05)
                if self.listener is not listener:
                    break
                if ready:
                    plain, _ = listener.accept()
                    threading.Thread(target=Connection(self, plain).run, daemon=True).start()
            except (OSError, ValueError):
                break
        listener.close()

    def down(self):
        listener, self.listener = self.listener, None
        if listener:
            listener.close()
        self.cut()

    def cut(self):
        with self.changed:
            for connection in list(self.connections):
                connection.close()
            self.changed.notify_all()

    def take(self, on, path, **have):
        with self.changed:
            for fault in self.faults:
                if fault["on"] != on or fault.get("path", "") not in path:
                    continue
                if fault["what"] == "expire" and not have.get("token"):
                    continue
                fault["times"] = fault.get("times", 1) - 1
                if fault["times"] <= 0:
                    self.faults.remove(fault)
                return fault
        return None

    def put(self, collection, obj):
        with self.changed:
            meta = obj["metadata"]
            key = (collection, meta.get("namespace", ""), meta["name"])
            old = self.objects.get(key)
            self.version += 1
            meta["resourceVersion"] = str(self.version)
            meta["uid"] = old["metadata"]["uid"] if old else "uid-%d" % self.version
            meta["generation"] = old["metadata"]["generation"] + (old.get("spec") != obj.get("spec")) if old else 1
            obj = json.loads(json.dumps(obj))
            self.objects[key] = obj
            self.log.append((self.version, "MODIFIED" if old else "ADDED", collection, obj))
            self.changed.notify_all()
            return obj

    def delete(self, collection, ns, name):
        with self.changed:
            obj = self.objects.pop((collection, ns, name), None)
            if obj is None:
                return False
            self.version += 1
            obj = json.loads(json.dumps(obj))
            obj["metadata"]["resourceVersion"] = str(self.version)
            self.log.append((self.version, "DELETED", collection, obj))
            self.changed.notify_all()
            return True

    def command(self, c):
        op = c["op"]
        if op == "put":
            return {"version": self.put(c["path"], c["object"])["metadata"]["resourceVersion"]}
        if op == "delete":
            return {"deleted": self.delete(c["path"], c.get("ns", ""), c["name"])}
        if op == "get":
            return {"object": self.objects.get((c["path"], c.get("ns", ""), c["name"]))}
        if op == "state":
            out = {}
            with self.changed:
                for (collection, ns, name), obj in self.objects.items():
                    out.setdefault(collection, {})[ns + "/" + name] = obj["metadata"]["resourceVersion"]
            return {"state": out}
        if op == "fault":
            with self.changed:
                self.faults.append({k: v for k, v in c.items() if k != "op"})
        elif op == "clear":
            with self.changed:
                self.faults = []
        elif op == "armed":
            return {"armed": len(self.faults)}
        elif op == "compact":
            with self.changed:
                self.compacted = self.version
                self.log = []
        elif op == "restore":
            with self.changed:
                self.version, self.log = 100, []
                for obj in self.objects.values():
                    self.version += 1
                    obj["metadata"]["resourceVersion"] = str(self.version)
                self.compacted = 100
        elif op == "down":
            self.down()
        elif op == "up":
            self.up()
        elif op == "cut":
            self.cut()
        elif op == "freeze":
            with self.changed:
                self.frozen.set()
                self.freeze_count += 1
                self.changed.notify_all()
        elif op == "thaw":
            self.frozen.clear()
        elif op == "tokens":
            self.tokens = c["accept"]
        elif op == "certificate":
            self.set_certificate(c["cert"], c["key"])
        elif op == "pages":
            self.page_size = c["size"]
        elif op == "bookmarks":
            self.bookmark_seconds = c["seconds"]
        elif op == "absent":
            (self.absent.add if c["absent"] else self.absent.discard)(c["path"])
        elif op == "told":
            return {"told": dict(self.told)}
        elif op == "requests":
            with self.changed:
                out, self.requests = self.requests, []
            return {"requests": out}
        else:
            return {"error": "unknown op " + op}
        return {}


class Connection:
    def __init__(self, server, plain):
        self.server, self.plain, self.sock = server, plain, None
        self.buffer = b""
        self.dead = False
        self.born = server.freeze_count

    def run(self):
        server = self.server
        while server.frozen.is_set():
            time.sleep(0.02)
        with server.changed:
            server.connections.add(self)
        try:
            self.plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.plain.settimeout(30)
            self.sock = server.context.wrap_socket(self.plain, server_side=True)
            while self.one_request():
                pass
        except (OSError, Closed, ValueError):
            pass
        finally:
            with server.changed:
                server.connections.discard(self)
            self.close()

    def close(self):
        self.dead = True
        try:
            self.plain.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        if self.sock:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            if threading.current_thread() is not threading.main_thread():
                self.sock.close()

    def half_open(self):
        return self.server.freeze_count > self.born

    def stay_silent(self):
        while not self.dead:
            time.sleep(0.02)
        raise Closed

    def send(self, data):
        if self.half_open():
            self.stay_silent()
        self.sock.sendall(data)

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise Closed
        if self.half_open():
            self.stay_silent()
        self.buffer += data

    def one_request(self):
        self.sock.settimeout(None)
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length:
            self.more()
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        with self.server.changed:
            self.server.requests.append(method + " " + target)
        self.dispatch(method, target, headers, body)
        return True

    # ---- answers

    def reply(self, code, obj, headers=(), content_type="application/json"):
        body = obj if isinstance(obj, bytes) else json.dumps(obj).encode()
        head = "HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (code, content_type, len(body))
        self.send(head.encode() + "".join("%s: %s\r\n" % h for h in headers).encode() + b"\r\n" + body)

    def status(self, code, retry_after=None):
        headers = [("Retry-After", retry_after)] if retry_after is not None else []
        self.reply(code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "as asked"}, headers)

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    # ---- requests

    def dispatch(self, method, target, headers, body):
        server = self.server
        url = urllib.parse.urlsplit(target)
        query = {k: v[0] for k, v in urllib.parse.parse_qs(url.query).items()}
        if server.tokens is not None and headers.get("authorization", "") not in ["Bearer " + t for t in server.tokens]:
            return self.status(401)
        if url.path == "/version":
            return self.reply(200, {"major": "1"})
        parts = [urllib.parse.unquote(p) for p in url.path.split("/") if p]
        prefix, rest = (parts[:2], parts[2:]) if parts[0] == "api" else (parts[:3], parts[3:])
        ns = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            ns, rest = rest[1], rest[2:]
        collection = "/" + "/".join(prefix + [rest[0]])
        if collection in server.absent or rest[0] not in PLURALS:
            return self.status(404)
        if len(rest) == 1 and method == "GET":
            if query.get("watch") == "1":
                return self.watch(collection, ns, query, headers)
            return self.list(collection, ns, query, headers)
        fault = server.take("call", url.path)
        if fault:
            return self.status(fault["code"])
        self.call(method, collection, ns, rest, headers, body)

    def call(self, method, collection, ns, rest, headers, body):
        server = self.server
        if method == "POST":
            obj = json.loads(body)
            with server.changed:
                if (collection, ns, obj["metadata"]["name"]) in server.objects:
                    return self.status(409)
            return self.reply(201, server.put(collection, obj))
        key = (collection, ns, rest[1])
        with server.changed:
            obj = server.objects.get(key)
            if obj is None:
                return self.status(404)
            if method == "PATCH":
                if headers.get("content-type") != "application/merge-patch+json":
                    return self.status(415)
                patch = json.loads(body)
                version = patch.get("metadata", {}).get("resourceVersion")
                if version is not None and version != obj["metadata"]["resourceVersion"]:
                    return self.status(409)
                patch.pop("metadata", None)
                obj = server.put(collection, merge(json.loads(json.dumps(obj)), patch))
        self.reply(200, obj)

    def visible(self, collection, ns, obj, query):
        if obj[0] != collection or (ns and obj[1] != ns):
            return False
        for term in query.get("fieldSelector", "").split(","):
            if term.startswith("metadata.name!="):
                if obj[2] == term.split("=", 1)[1]:
                    return False
            elif term.startswith("metadata.name="):
                if obj[2] != term.split("=", 1)[1]:
                    return False
        return True

    @staticmethod
    def shape(obj, headers):
        if "as=PartialObjectMetadata" not in headers.get("accept", ""):
            return obj
        return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}

    def list(self, collection, ns, query, headers):
        server = self.server
        token = query.get("continue")
        fault = server.take("list", collection, token=token)
        what = fault["what"] if fault else None
        if what == "status":
            return self.status(fault["code"], fault.get("retry_after"))
        if what == "expire":
            return self.status(410)
        # All pages of a list show one state, as the real server's do: the token names the rest.
        with server.changed:
            if token:
                version, items = server.rests.get(token, (None, None))
                if version is None:
                    return self.status(410)
            else:
                version = server.version
                items = [obj for key, obj in sorted(server.objects.items()) if self.visible(collection, ns, key, query)]
            meta = {"resourceVersion": str(version)}
            if "limit" in query and server.page_size < len(items):
                meta["continue"] = "rest-%d" % next(server.tokens_made)
                server.rests[meta["continue"]] = (version, items[server.page_size:])
                items = items[:server.page_size]
        kind = PLURALS[collection.rsplit("/", 1)[1]]
        out = {"kind": kind + "List", "apiVersion": "v1", "metadata": meta, "items": [self.shape(obj, headers) for obj in items]}
        if what == "no_version":
            out = {"kind": kind + "List", "apiVersion": "v1", "metadata": {}, "items": []}
        if what == "garbage":
            return self.reply(200, b'{"kind":"' + kind.encode() + b'List","metadata":{"resourceVersion":"1"},"items":[}')
        if what == "type":
            return self.reply(200, b"<html>gateway timeout</html>", content_type="text/html")
        if what == "forever":
            self.stay_silent()
        body = json.dumps(out).encode()
        if what in ("cut", "slow"):
            self.send(b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
            self.chunk(body[:len(body) // 2])
            if what == "cut":
                raise Closed
            time.sleep(fault["seconds"])
            self.chunk(body[len(body) // 2:])
            return self.send(b"0\r\n\r\n")
        self.reply(200, out)

    def watch(self, collection, ns, query, headers):
        server = self.server
        fault = server.take("watch", collection)
        what = fault["what"] if fault else None
        at = int(query["resourceVersion"])
        if what == "status":
            return self.status(fault["code"], fault.get("retry_after"))
        if what == "hang":
            self.stay_silent()
        if at < server.compacted:
            return self.status(410)
        if at > server.version:
            return self.reply(504, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Timeout", "code": 504, "details": {
                "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1},
                "message": "Timeout: Too large resource version: %d, current: %d" % (at, server.version)})
        content_type = "text/html" if what == "type" else "application/json"
        self.send(("HTTP/1.1 200 X\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % content_type).encode())
        end = time.monotonic() + float(query.get("timeoutSeconds", "300"))
        mark = time.monotonic() + server.bookmark_seconds
        held, kind = None, PLURALS[collection.rsplit("/", 1)[1]]
        while True:
            with server.changed:
                events = [e for e in server.log
                          if e[0] > at and self.visible(collection, ns, (e[2], e[3]["metadata"].get("namespace", ""), e[3]["metadata"]["name"]), query)]
                now = time.monotonic()
                if not events and now < min(end, mark) and not self.dead and not self.half_open():
                    server.changed.wait(min(end, mark) - now)
                    continue
                last = server.version
            if self.dead:
                raise Closed
            if self.half_open():
                self.stay_silent()
            for version, kind_of_event, _, obj in events:
                at = version
                line = json.dumps({"type": kind_of_event, "object": self.shape(obj, headers)}).encode() + b"\n"
                if held:
                    line, held = line + held, None
                line, held = self.deliver(collection, line, held)
                if line:
                    self.chunk(line)
            if not events and now >= mark:
                at = max(at, last)
                mark = now + server.bookmark_seconds
                self.chunk(json.dumps({"type": "BOOKMARK", "object": {"kind": kind, "metadata": {"resourceVersion": str(at)}}}).encode() + b"\n")
            server.told[collection] = max(at, server.told.get(collection, 0))
            if now >= end:
                return self.send(b"0\r\n\r\n")

    def deliver(self, collection, line, held):
        """What becomes of one event's line: (what is sent, what is held back)."""
        fault = self.server.take("event", collection)
        what = fault["what"] if fault else None
        if what is None:
            return line, held
        if what == "duplicate":
            return line + line, None
        if what == "reorder":
            return b"", line
        if what == "silent":
            self.stay_silent()
        if what in ("gone", "error"):
            code = 410 if what == "gone" else fault["code"]
            self.chunk(json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code, "message": "as asked"}}).encode() + b"\n")
        elif what == "half_line":
            self.chunk(line[:len(line) // 2])
        elif what == "garbage":
            self.chunk(b'{"type":"ADDED","object":{"metadata":\n')
        elif what == "unknown":
            self.chunk(b'{"type":"RENAMED","object":{"metadata":{"resourceVersion":"1"}}}\n')
        elif what == "oversized":
            self.chunk(b'{"type":"ADDED","object":{"metadata":{"name":"' + b"x" * (5 << 20) + b'"}}}\n')
        raise Closed


def merge(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merge(target.get(key), value)
    return target


def main():
    server = Server(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    print(json.dumps({"port": server.port}), flush=True)
    for line in sys.stdin:
        try:
            answer = server.command(json.loads(line))
        except Exception as error:  # the driver is to see it, not to wait for ever
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
