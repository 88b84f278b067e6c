#!/usr/bin/env python3
"""`sluice run` as its users meet it: the folder of manifests and what is done to it, flags and the line of ports, what is refused and how."""
import json
import os
import signal
import socket
import ssl
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, PATIENCE, Gateway, Origin, ingress, make_certificate, service, sluice, slurp, tls_secret  # noqa: E402


def documents(objects):
    """Many YAML documents: JSON is YAML."""
    return '---\n# a comment\n' + '\n---\n'.join(json.dumps(o, indent=1) for o in objects) + '\n'


YAML_INGRESS = '''
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
spec:
  ingressClassName: sluice
  rules:
  - host: {host}
    http:
      paths:
      - path: /
        pathType: Prefix
        backend: {{service: {{name: web, port: {{number: 80}}}}}}
'''


class Folder(unittest.TestCase):
    """Everything a person does to the folder, in one gateway."""

    @classmethod
    def setUpClass(cls):
        cls.origin = Origin(1)
        cls.gw = Gateway([CLASS] + service('web', cls.origin.ports), admin=False)

    @classmethod
    def tearDownClass(cls):
        cls.gw.stop()
        cls.origin.stop()

    def path(self, name):
        return os.path.join(self.gw.folder, name)

    def put(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)

    def served(self, host, what):
        self.gw.until(lambda: self.gw.get('/', host=host)[0] == 200, what=f'{host} is served: {what}')

    def gone(self, host, what):
        self.gw.until(lambda: self.gw.get('/', host=host)[0] == 404, what=f'{host} is not served: {what}')

    def test_yaml_json_many_documents_many_files_subfolders(self):
        self.put('one.yaml', YAML_INGRESS.format(name='one', host='one.example') + '---' + YAML_INGRESS.format(name='two', host='two.example'))
        self.put('three.yml', YAML_INGRESS.format(name='three', host='three.example'))
        self.put('four.json', json.dumps(ingress('four', 'four.example', 'web')))
        self.put('five.yaml', documents([ingress('five', 'five.example', 'web'), ingress('six', 'six.example', 'web')]))
        os.makedirs(self.path('deep/er'))
        self.put('deep/er/seven.yaml', YAML_INGRESS.format(name='seven', host='seven.example'))
        self.put('notes.txt', YAML_INGRESS.format(name='notes', host='notes.example'))
        for name in ('one', 'two', 'three', 'four', 'five', 'six', 'seven'):
            self.served(f'{name}.example', 'a document of a file')
        self.assertEqual(self.gw.get('/', host='notes.example')[0], 404, 'only *.yaml, *.yml, *.json are read')

    def test_changed_renamed_removed(self):
        self.put('change.yaml', YAML_INGRESS.format(name='change', host='before.example'))
        self.served('before.example', 'created')
        self.put('change.yaml', YAML_INGRESS.format(name='change', host='after.example'))
        self.served('after.example', 'changed in place')
        self.gone('before.example', 'changed in place')
        os.rename(self.path('change.yaml'), self.path('renamed.yaml'))
        self.put('marker.yaml', YAML_INGRESS.format(name='marker', host='marker.example'))
        self.served('marker.example', 'written after the rename')
        self.served('after.example', 'its file has another name')
        os.unlink(self.path('renamed.yaml'))
        self.gone('after.example', 'its file is gone')
        os.makedirs(self.path('sub'))
        self.put('sub/x.yaml', YAML_INGRESS.format(name='sub', host='sub.example'))
        self.served('sub.example', 'in a folder made later')
        os.rename(self.path('sub'), self.path('sub2'))
        self.put('sub2/y.yaml', YAML_INGRESS.format(name='sub-y', host='sub-y.example'))
        self.served('sub-y.example', 'the renamed folder is watched')
        self.served('sub.example', 'its folder has another name')
        os.unlink(self.path('sub2/x.yaml'))
        os.unlink(self.path('sub2/y.yaml'))
        os.rmdir(self.path('sub2'))
        self.gone('sub.example', 'its folder is gone')

    def test_half_written_files_do_no_harm(self):
        text = YAML_INGRESS.format(name='half', host='half.example')
        self.put('half.yaml', text)
        self.served('half.example', 'whole')
        seen = []
        for cut in (len(text) // 3, len(text) // 2, len(text) - 30):
            # Slow writers: truncated, a part, a pause in which others change, the rest.
            with open(self.path('half.yaml'), 'w') as f:
                f.write(text[:cut])
                f.flush()
                marker = f'during-{cut}.example'
                self.put('during.yaml', YAML_INGRESS.format(name='during', host=marker))
                self.served(marker, 'another file changes meanwhile')
                seen.append(self.gw.get('/', host='half.example')[0])
                f.write(text[cut:])
            # Its closing was seen before that of a file closed later: the next round is not read in its place.
            self.put('after.yaml', YAML_INGRESS.format(name='after', host=f'after-{cut}.example'))
            self.served(f'after-{cut}.example', 'the file closed after it')
            seen.append(self.gw.get('/', host='half.example')[0])
        # Closed, and broken: the last good content stays and the log says where.
        self.put('half.yaml', text + '  broken: [\n')
        self.gw.until(lambda: 'half.yaml' in slurp(self.gw.log_path), what='the broken file is reported')
        seen.append(self.gw.get('/', host='half.example')[0])
        self.assertEqual(set(seen), {200})
        os.unlink(self.path('half.yaml'))
        self.gone('half.example', 'removed')

    def test_one_bad_object_does_not_touch_its_neighbours(self):
        bad = ingress('bad', 'bad.example', 'web')
        bad['spec']['rules'][0]['http']['paths'][0]['pathType'] = 'Sideways'
        self.put('mixed.yaml', documents([ingress('left', 'left.example', 'web'), bad, ingress('right', 'right.example', 'web')]))
        self.served('left.example', 'before a bad document')
        self.served('right.example', 'behind a bad document')
        self.assertEqual(self.gw.get('/', host='bad.example')[0], 404)
        self.gw.until(lambda: 'Sideways' in slurp(self.gw.log_path), what='the log says what is wrong')


class Ports(unittest.TestCase):
    def test_what_is_not_asked_for_is_not_listened_on(self):
        with Origin(1) as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], admin=False) as gw:
            self.assertEqual(list(gw.ports), ['http'])
            gw.until(lambda: listening(gw) == {gw.http}, what=f'one port: {listening(gw)}')
            self.assertEqual(gw.get('/')[0], 200)

    def test_the_line_of_ports_comes_once_and_when_it_serves(self):
        with Origin(1) as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], https=True) as gw:
            # The first request after the line is answered: nothing has to be waited for.
            self.assertEqual(gw.get('/')[0], 200)
            self.assertEqual(sorted(gw.ports), ['admin', 'http', 'https'])
            gw.until(lambda: listening(gw) == set(gw.ports.values()), what=f'those ports: {listening(gw)}')
            gw.until(lambda: gw.get('/readyz', port=gw.admin)[0] == 200, what='ready')
            # Another control plane does not print it again.
            victim = gw.pids('controlplane')[0]
            os.kill(victim, signal.SIGKILL)
            gw.until(lambda: any(pid != victim for pid in gw.pids('controlplane')), what='another control plane')
            gw.write('more.json', [ingress('more', 'b.example', 'web')])
            gw.until(lambda: gw.get('/', host='b.example')[0] == 200, what='it serves')
            gw.proc.send_signal(signal.SIGTERM)
            self.assertEqual(gw.proc.stdout.read(), b'')
            self.assertEqual(gw.proc.wait(PATIENCE), 0)

    def test_ipv6(self):
        with Origin(1) as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], bind='::1') as gw:
            self.assertEqual(gw.get('/')[0], 200)
            self.assertEqual(gw.get('/healthz', port=gw.admin)[0], 200)
            with self.assertRaises(OSError):
                socket.create_connection(('127.0.0.1', gw.http), timeout=5)

    def test_without_bind_both_families(self):
        with Origin(1) as origin, Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], bind=None, admin=False) as gw:
            for gw.address in ('127.0.0.1', '::1'):
                self.assertEqual(gw.get('/')[0], 200, gw.address)

    def test_a_taken_port_is_named_and_served_when_it_is_free(self):
        with Origin(1) as origin, socket.socket() as taken:
            taken.bind(('127.0.0.1', 0))
            taken.listen()
            port = taken.getsockname()[1]
            gw = Gateway([CLASS] + service('web', origin.ports) + [ingress('web', 'a.example', 'web')], http=False, admin=False, args=['--http-port', str(port)], wait=False)
            with gw:
                gw.until(lambda: f'127.0.0.1:{port}' in gw.tail(50) and 'in use' in gw.tail(50), what='the log names the port')
                self.assertIsNone(gw.proc.poll())
                taken.close()
                gw.read_ports()
                self.assertEqual(gw.http, port)
                self.assertEqual(gw.get('/')[0], 200)


def listening(gw):
    """TCP ports that the gateway's processes listen on."""
    inodes = set()
    for pid in gw.pids():
        try:
            links = [os.readlink(f'/proc/{pid}/fd/{fd}') for fd in os.listdir(f'/proc/{pid}/fd')]
        except OSError:
            continue
        inodes |= {link[8:-1] for link in links if link.startswith('socket:[')}
    rows = [line.split() for table in ('tcp', 'tcp6') for line in slurp(f'/proc/net/{table}').strip().split('\n')[1:]]
    return {int(f[1].rsplit(':', 1)[1], 16) for f in rows if f[3] == '0A' and f[9] in inodes}


def peer_certificate(gw, name):
    """(DER certificate, TLS version) that the gateway shows for a server name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with gw.connect(gw.https) as raw, context.wrap_socket(raw, server_hostname=name) as s:
        return s.getpeercert(True), s.version()


class Defaults(unittest.TestCase):
    def test_default_backend_service(self):
        with Origin(2) as origin:
            objects = [CLASS] + service('web', origin.ports[:1]) + service('rest', origin.ports[1:], ns='other', port=8080) + [ingress('web', 'a.example', 'web')]
            for target, status in (('other/rest', 200), ('other/rest:8080', 200), ('other/rest:81', 503), ('other/none', 503)):
                with self.subTest(target=target), Gateway(objects, admin=False, args=['--default-backend-service', target]) as gw:
                    self.assertEqual(gw.get('/')[2].split()[0], b'0')
                    answer = gw.get('/', host='nobody.example')
                    self.assertEqual(answer[0], status, answer)
                    if status == 200:
                        self.assertEqual(answer[2].split()[0], b'1')

    def test_self_made_and_default_certificate(self):
        with tempfile.TemporaryDirectory() as work:
            mine, mine_key = make_certificate(work, 'a.example')
            other, other_key = make_certificate(work, 'fallback.example')
            der = {name: ssl.PEM_cert_to_DER_cert(slurp(path)) for name, path in (('mine', mine), ('other', other))}
            objects = [CLASS, ingress('web', 'a.example', 'web', tls='a-tls'), tls_secret('a-tls', mine, mine_key), tls_secret('fallback', other, other_key, ns='infra')]
            with Gateway(objects, https=True, admin=False) as gw:
                self.assertEqual(peer_certificate(gw, 'a.example')[0], der['mine'])
                made, version = peer_certificate(gw, 'nobody.example')
                self.assertNotIn(made, der.values())
                self.assertEqual(version, 'TLSv1.3')
            with Gateway(objects, https=True, admin=False, args=['--default-ssl-certificate', 'infra/fallback']) as gw:
                self.assertEqual(peer_certificate(gw, 'a.example')[0], der['mine'])
                self.assertEqual(peer_certificate(gw, 'nobody.example')[0], der['other'])
                # Its Secret changes: the new one is shown without a restart.
                gw.write('objects.json', objects[:-1] + [tls_secret('fallback', mine, mine_key, ns='infra')])
                gw.until(lambda: peer_certificate(gw, 'nobody.example')[0] == der['mine'], what='the changed default certificate')

    def test_version(self):
        code, out, err = sluice('version')
        self.assertEqual((code, err), (0, ''))
        self.assertRegex(out, r'^sluice \d+\.\d+\.\d+\n$')


class Refused(unittest.TestCase):
    """Each: an exit code that is not 0, no line of ports, and a message that says what and where."""

    def refused(self, *args, says, config=None):
        with tempfile.TemporaryDirectory() as work:
            folder = os.path.join(work, 'm')
            os.makedirs(folder)
            args = [str(a).replace('DIR', folder).replace('WORK', work) for a in args]
            if config is not None:
                with open(os.path.join(work, 'c.yaml'), 'w') as f:
                    f.write(config)
                args += ['--config', os.path.join(work, 'c.yaml')]
            code, out, err = sluice(*args)
        self.assertNotEqual(code, 0, (args, err))
        self.assertEqual(out if not out.startswith('{') else 'a line of ports', out, (args, out))
        for text in says:
            self.assertIn(text, out + err, args)

    def test_flags(self):
        run = ('run', '--manifests', 'DIR')
        for args, says in (
                ((), ('subcommand',)),
                (('walk',), ('subcommand',)),
                (('run',), ('--manifests',)),
                (('run', '--manifests', 'WORK/nope', '--http-port', '0'), ('--manifests', 'nope')),
                ((*run, '--http-port', '70000'), ('--http-port', '70000')),
                ((*run, '--http-port', 'eighty'), ('--http-port', 'eighty')),
                ((*run, '--https-port', '-1'), ('--https-port', '-1')),
                ((*run, '--admin-port', '1x'), ('--admin-port', '1x')),
                ((*run, '--htp-port', '0'), ('--htp-port',)),
                ((*run, '--http-port', '0', '--workers', '1000'), ('--workers', '128')),
                ((*run, '--http-port', '0', '--bind', '1.2.3'), ('--bind', '1.2.3')),
                ((*run, '--http-port', '0', '--bind', 'localhost'), ('--bind', 'localhost')),
                ((*run, '--http-port', '0', '--default-backend-service', 'web'), ('--default-backend-service', "'web'")),
                ((*run, '--http-port', '0', '--default-backend-service', 'a/web:http'), ('--default-backend-service', 'a/web:http')),
                ((*run, '--http-port', '0', '--default-ssl-certificate', 'a/b/c'), ('--default-ssl-certificate', 'a/b/c')),
                ((*run, '--http-port', '0', '--log-level', 'loud'), ('--log-level', 'loud')),
                # Root may write anywhere, so: below what is no folder.
                ((*run, '--http-port', '0', '--state', '/dev/null/state'), ('--state', '/dev/null/state')),
                ((*run, '--http-port', '0', '--state', '/proc/state'), ('--state', '/proc/state')),
                ((*run, '--http-port', '0', '--state', 'WORK/' + 'x' * 120), ('--state', 'too long')),
                ((*run, '--http-port', '0', '--config', 'WORK/none.yaml'), ('none.yaml', 'cannot be read')),
        ):
            with self.subTest(args=' '.join(args)):
                self.refused(*args, says=says)

    def test_config_files(self):
        for text, says in (
                ('workers: 1\nworker: 2\n', ('c.yaml:2', 'worker ', 'did you mean workers?')),
                ('timeouts:\n  requestHeaders: 1s\n', ('c.yaml:2', 'timeouts.requestHeaders', 'did you mean timeouts.requestHeader?')),
                ('\n\nacessLog:\n  path: "off"\n', ('c.yaml:3', 'acessLog', 'did you mean accessLog')),
                ('timeouts: {request: soon}\n', ('c.yaml:1', 'timeouts.request', 'duration')),
                ('limits:\n  headerCount: 0\n', ('c.yaml:2', 'limits.headerCount', 'between 1 and 1000')),
                ('trustedProxies:\n- 10.0.0.0/8\n- 10.0.0.0/99\n', ('c.yaml:', 'trustedProxies', '10.0.0.0/99')),
                ('hostOwnership: mine\n', ('c.yaml:1', 'hostOwnership', 'namespace or shared')),
                ('accessLog: {format: "%{nothing}"}\n', ('c.yaml:1', 'accessLog.format', 'nothing')),
                ('workers: 1\nworkers: 2\n', ('c.yaml:2', 'workers', 'twice')),
                ('workers: [\n', ('c.yaml:',)),
                ('listeners: {bind: [nowhere]}\n', ('c.yaml:1', 'listeners.bind', 'nowhere')),
                ('a: &a [*a]\n', ('c.yaml:1',)),
        ):
            with self.subTest(config=text):
                self.refused('run', '--manifests', 'DIR', '--http-port', '0', says=says, config=text)


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
