"""The proxies under test: how each is configured and started. Equal terms: one worker, keep-alive to both sides, an upstream pool,
X-Forwarded-For added, X-Request-Id where the proxy has it, access log off unless a row asks for it, the same certificate.
env['protocol']: '' HTTP/1.1 on both sides; 'h2' HTTP/2 offered to clients, 'h2c' towards the origin too, by prior knowledge; 'ws' WebSockets."""
import json
import os
import shutil
import subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..', '..'))
HOST = 'bench.example'


class Peer:
    def __init__(self, env):
        self.env = env          # work, http, https, backend, cert, key, pem, workers, log, protocol
        self.h2 = env['protocol'] in ('h2', 'h2c')  # towards clients
        self.proc = None

    name = ''
    tls = True

    def available(self):
        return shutil.which(self.name) is not None

    def version(self):
        return ''

    def write(self, file, text):
        path = os.path.join(self.env['work'], file)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'w') as f:
            f.write(text)
        return path

    def start(self, cpu):
        prefix = ['taskset', '-c', cpu] if cpu else []
        self.log = open(os.path.join(self.env['work'], 'out.log'), 'w')
        self.proc = subprocess.Popen(prefix + self.command(), stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, start_new_session=True)

    def stop(self):
        if self.proc and self.proc.poll() is None:
            self.proc.terminate()
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()


def first_line(args, err=False):
    try:
        out = subprocess.run(args, capture_output=True, text=True, timeout=10)
        return ((out.stderr if err else out.stdout) or out.stderr or out.stdout).strip().split('\n')[0]
    except OSError:
        return '?'


class Relay(Peer):
    name, tls = 'relay', False

    def available(self):
        return True

    def version(self):
        return 'bare TCP relay (the floor)'

    def command(self):
        return [os.path.join(self.env['bin'], 'relay'), str(self.env['http']), str(self.env['backend'])]


class Nginx(Peer):
    name = 'nginx'

    def version(self):
        return first_line(['nginx', '-v'], err=True)

    def command(self):
        e = self.env
        log = f'access_log {e["work"]}/access.log;' if e['log'] else 'access_log off;'
        upgrade = 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $upgrade_or_not; proxy_read_timeout 600s; proxy_send_timeout 600s;'
        connection = upgrade if e['protocol'] == 'ws' else 'proxy_set_header Connection "";'
        conf = f'''user root; worker_processes {e["workers"]}; daemon off; pid {e['work']}/pid; error_log {e['work']}/error.log;
events {{ worker_connections 8192; }}
http {{ {log} client_body_temp_path {e['work']}/b; proxy_temp_path {e['work']}/p; fastcgi_temp_path {e['work']}/f; uwsgi_temp_path {e['work']}/u; scgi_temp_path {e['work']}/s;
 keepalive_requests 100000000; keepalive_timeout 600s; proxy_max_temp_file_size 0;
 upstream origin {{ server 127.0.0.1:{e['backend']}; keepalive 256; keepalive_requests 100000000; }}
 {"map $http_upgrade $upgrade_or_not { default upgrade; '' ''; }" if e['protocol'] == 'ws' else ''}
 server {{ listen 127.0.0.1:{e['http']} default_server reuseport; return 404; }}
 server {{ listen 127.0.0.1:{e['http']}; listen 127.0.0.1:{e['https']} ssl{' http2' if self.h2 else ''} reuseport; server_name {HOST};
  ssl_certificate {e['cert']}; ssl_certificate_key {e['key']}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;
  location / {{ proxy_pass http://origin; proxy_http_version 1.1; {connection} proxy_set_header Host $host;
   proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Request-Id $request_id; }} }}
}}
'''
        return ['nginx', '-c', self.write('nginx.conf', conf), '-p', e['work']]


class Haproxy(Peer):
    name = 'haproxy'

    def version(self):
        return first_line(['haproxy', '-v'])

    def command(self):
        e = self.env
        conf = f'''global
  nbthread {e['workers']}
  maxconn 8192
  tune.ssl.default-dh-param 2048
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
  timeout tunnel 600s
  http-reuse always
  {"log stdout format raw local0" if e['log'] else ""}
  {"option httplog" if e['log'] else ""}
frontend f
  bind 127.0.0.1:{e['http']}
  bind 127.0.0.1:{e['https']} ssl crt {e['pem']}{' alpn h2,http/1.1' if self.h2 else ''}
  option forwardfor
  unique-id-format %{{+X}}o%ci:%cp_%fi:%fp_%Ts_%rt
  unique-id-header X-Request-Id
  acl known hdr(host) -m beg {HOST}
  http-request return status 404 if !known
  default_backend b
backend b
  server s 127.0.0.1:{e['backend']} pool-max-conn 256{' proto h2' if e['protocol'] == 'h2c' else ''}
'''
        return ['haproxy', '-db', '-f', self.write('haproxy.cfg', conf)]


class H2o(Peer):
    name = 'h2o'

    def version(self):
        return first_line(['h2o', '--version'])

    def command(self):
        e = self.env
        conf = f'''num-threads: {e['workers']}
user: root
max-connections: 8192
http1-request-timeout: 600
http2-idle-timeout: 600
proxy.timeout.keepalive: 60000
proxy.preserve-host: ON
listen:
  host: 127.0.0.1
  port: {e['http']}
listen:
  host: 127.0.0.1
  port: {e['https']}
  ssl:
    certificate-file: {e['cert']}
    key-file: {e['key']}
hosts:
  "{HOST}":
    paths:
      "/":
        proxy.reverse.url: "http://127.0.0.1:{e['backend']}/"
'''
        if e['log']:
            conf += f'access-log: {e["work"]}/access.log\n'
        return ['h2o', '-c', self.write('h2o.conf', conf)]


class Nghttpx(Peer):
    name = 'nghttpx'

    def version(self):
        return first_line(['nghttpx', '--version'])

    def command(self):
        e = self.env
        return ['nghttpx', '--conf=/dev/null', f'-f127.0.0.1,{e["http"]};no-tls', f'-f127.0.0.1,{e["https"]}', f'-b127.0.0.1,{e["backend"]}' + (';;proto=h2' if e['protocol'] == 'h2c' else ''), f'--workers={e["workers"]}',
                '--add-x-forwarded-for', '--no-ocsp', '--accesslog-file=' + (f'{e["work"]}/access.log' if e['log'] else '/dev/null'), f'--errorlog-file={e["work"]}/error.log',
                '--frontend-http2-max-concurrent-streams=100', '--frontend-keep-alive-timeout=600', '--frontend-http2-read-timeout=600', '--backend-connections-per-host=256', e['key'], e['cert']]


class Envoy(Peer):
    """From hack/deps bench, or where ENVOY names a binary."""
    name = 'envoy'

    def binary(self):
        cache = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
        return os.environ.get('ENVOY') or os.path.join(cache, 'sluice', 'envoy', 'envoy', '_bin', 'envoy')

    def available(self):
        return os.access(self.binary(), os.X_OK)

    def version(self):
        return first_line([self.binary(), '--version'])

    def command(self):
        e = self.env
        log = [{'name': 'file', 'typed_config': {'@type': 'type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog', 'path': f'{e["work"]}/access.log'}}] if e['log'] else []

        upgrades = {'upgrade_configs': [{'upgrade_type': 'websocket'}]} if e['protocol'] == 'ws' else {}
        route = {'cluster': 'b', 'timeout': '0s'} if e['protocol'] else {'cluster': 'b'}  # streams last
        many = {what: 100000 for what in ('max_connections', 'max_pending_requests', 'max_requests')}  # 1,024 by default
        h2c = {'typed_extension_protocol_options': {'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions', 'explicit_http_config': {'http2_protocol_options': {}}}}}

        def listener(port, tls):
            chain = {'filters': [{'name': 'hcm', 'typed_config': {
                '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', 'stat_prefix': 'h',
                'use_remote_address': True, 'access_log': log, 'codec_type': 'AUTO' if self.h2 else 'HTTP1', **upgrades, 'http_filters': [{'name': 'router', 'typed_config': {
                    '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'}}],
                'route_config': {'virtual_hosts': [{'name': 'v', 'domains': [HOST, HOST + ':*'], 'routes': [{'match': {'prefix': '/'}, 'route': route}]}]}}}]}
            if tls:
                chain['transport_socket'] = {'name': 'tls', 'typed_config': {
                    '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
                    'common_tls_context': {**({'alpn_protocols': ['h2', 'http/1.1']} if self.h2 else {}), 'tls_params': {'tls_maximum_protocol_version': 'TLSv1_3'},
                                           'tls_certificates': [{'certificate_chain': {'filename': e['cert']}, 'private_key': {'filename': e['key']}}]}}}
            return {'name': f'l{port}', 'address': {'socket_address': {'address': '127.0.0.1', 'port_value': port}}, 'filter_chains': [chain]}
        conf = {'static_resources': {
            'listeners': [listener(e['http'], False), listener(e['https'], True)],
            'clusters': [{**(h2c if e['protocol'] == 'h2c' else {}), 'name': 'b', 'connect_timeout': '2s', 'type': 'STATIC', 'circuit_breakers': {'thresholds': [many]}, 'load_assignment': {'cluster_name': 'b', 'endpoints': [{'lb_endpoints': [{'endpoint': {
                'address': {'socket_address': {'address': '127.0.0.1', 'port_value': e['backend']}}}}]}]}}]}}
        return [self.binary(), '-c', self.write('envoy.json', json.dumps(conf)), '--concurrency', str(e['workers']), '--log-level', 'error', '--disable-hot-restart']


class Sluice(Peer):
    name = 'sluice'

    def available(self):
        return os.path.exists(self.binary())

    def binary(self):
        return os.path.join(os.environ.get('SLUICE_BIN', os.path.join(ROOT, 'build', 'bin')), 'sluice')

    def version(self):
        return first_line([self.binary(), 'version'])

    def command(self):
        e = self.env
        self.write('m/objects.json', as_list(objects(e)))
        # What the gateway does beside the one host that is asked: NAME+hN, N other hosts; +cN, N others with a certificate each; +limit, a rate limit
        # with one key, the client's address; +keys, one whose key is a field of the request. Of itself: +wN, N workers; +eN, N workers among which connections are spread evenly.
        kind, count = e['variant'][:1], e['variant'][1:]
        if kind in ('h', 'c') and count.isdigit():
            self.write('m/hosts.json', as_list(other_hosts(int(count), kind == 'c')))
        if kind == 'c' and count.isdigit():
            with open(os.path.join(e['work'], 'm', 'certs.json'), 'w') as f:
                subprocess.run([os.path.join(e['bin'], 'certs'), count, OTHER_HOST, 'others'], stdout=f, check=True)
        if e['variant'] in ('limit', 'keys'):
            self.write('m/limit.json', json.dumps(limit('ClientIP' if e['variant'] == 'limit' else 'Header')))
        log = os.path.join(e['work'], 'access.log') if e['log'] else 'off'
        config = self.write('config.yaml', f'workers: {e["workers"]}\ntimeouts:\n  keepAlive: 600s\nsslRedirect: false\naccessLog:\n  path: "{log}"\n'
                            f'connections:\n  balance: {"even" if kind == "e" else "kernel"}\n')
        return [self.binary(), 'run', '--manifests', os.path.join(e['work'], 'm'), '--http-port', str(e['http']), '--https-port', str(e['https']), '--bind', '127.0.0.1',
                '--workers', str(e['workers']), '--state', os.path.join(e['work'], 'state'), '--config', config, '--default-ssl-certificate', 'bench/cert']


OTHER_HOST = 'a-%05d.example'  # before HOST in every order


def as_list(items):
    return json.dumps({'apiVersion': 'v1', 'kind': 'List', 'items': items})


def other_hosts(count, tls):
    """Ingresses of 5 paths and a name of their own, with the Service that HOST has too."""
    out = []
    for i in range(count):
        host = OTHER_HOST % i
        paths = [{'path': p, 'pathType': 'Prefix', 'backend': {'service': {'name': 'origin', 'port': {'number': 80}}}} for p in ('/', '/api', '/static', '/health', '/admin')]
        spec = {'ingressClassName': 'sluice', 'rules': [{'host': host, 'http': {'paths': paths}}]}
        if tls:
            spec['tls'] = [{'hosts': [host], 'secretName': f'cert-{i:05}'}]
        out.append({'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': {'name': f'other-{i:05}', 'namespace': 'others'}, 'spec': spec})
    return out


def limit(key):
    """High enough to refuse nobody, slow enough to fill up again that every key stays a live one."""
    keys = [{'type': key}] if key == 'ClientIP' else [{'type': key, 'name': 'X-Client'}]
    return {'apiVersion': 'sluice.dev/v1alpha1', 'kind': 'RateLimitPolicy', 'metadata': {'name': 'bench', 'namespace': 'bench'}, 'spec': {
        'targetRefs': [{'group': 'networking.k8s.io', 'kind': 'Ingress', 'name': 'origin'}],
        'limits': [{'name': 'all', 'requests': 1000000 if key == 'ClientIP' else 10000, 'per': '1s' if key == 'ClientIP' else '24h', 'burst': 1000000, 'keys': keys}]}}


def objects(e):
    import base64
    b64 = lambda path: base64.b64encode(open(path, 'rb').read()).decode()
    meta = lambda name: {'name': name, 'namespace': 'bench'}
    h2c = {'appProtocol': 'kubernetes.io/h2c'} if e['protocol'] == 'h2c' else {}
    return [
        {'apiVersion': 'networking.k8s.io/v1', 'kind': 'IngressClass', 'metadata': {'name': 'sluice'}, 'spec': {'controller': 'sluice.dev/ingress-controller'}},
        {'apiVersion': 'v1', 'kind': 'Secret', 'metadata': meta('cert'), 'type': 'kubernetes.io/tls', 'data': {'tls.crt': b64(e['cert']), 'tls.key': b64(e['key'])}},
        {'apiVersion': 'v1', 'kind': 'Service', 'metadata': meta('origin'), 'spec': {'ports': [{'name': 'http', 'port': 80, **h2c}]}},
        {'apiVersion': 'discovery.k8s.io/v1', 'kind': 'EndpointSlice', 'metadata': dict(meta('origin-1'), labels={'kubernetes.io/service-name': 'origin'}), 'addressType': 'IPv4',
         'ports': [{'name': 'http', 'port': e['backend'], 'protocol': 'TCP'}], 'endpoints': [{'addresses': ['127.0.0.1'], 'conditions': {'ready': True}}]},
        {'apiVersion': 'networking.k8s.io/v1', 'kind': 'Ingress', 'metadata': meta('origin'), 'spec': {
            'ingressClassName': 'sluice', 'tls': [{'hosts': [HOST], 'secretName': 'cert'}],
            'rules': [{'host': HOST, 'http': {'paths': [{'path': '/', 'pathType': 'Prefix', 'backend': {'service': {'name': 'origin', 'port': {'number': 80}}}}]}}]}},
    ]


ALL = {c.name: c for c in (Relay, Nginx, Haproxy, H2o, Nghttpx, Envoy, Sluice)}
