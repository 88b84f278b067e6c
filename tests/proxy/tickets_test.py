#!/usr/bin/env python3
"""Session ticket keys from a Secret (tls.ticketKeysSecret): two gateways that share nothing else resume each other's sessions, keys rotate by time, and a broken
Secret keeps the last good ones and says so."""
import base64
import json
import os
import re
import ssl
import sys
import tempfile
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, Gateway, Origin, ingress, make_certificate, read_answer, service, slurp, tls_secret  # noqa: E402

CONFIG = 'tls: {ticketKeysSecret: infra/tickets}'


def keys(entries, name='tickets'):
    data = {str(slot): base64.b64encode(key).decode() for slot, key in entries.items()}
    return {'apiVersion': 'v1', 'kind': 'Secret', 'type': 'Opaque', 'metadata': {'name': name, 'namespace': 'infra'}, 'data': data}


def generation(gw):
    return float(re.search(r'^sluice_generation (\S+)$', gw.metrics(), re.M)[1])


class TicketKeys(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.work.cleanup)
        cls.cert, cls.key = make_certificate(cls.work.name, 'a.example')
        cls.origin = Origin(1)
        cls.addClassCleanup(cls.origin.stop)
        cls.objects = [CLASS] + service('web', cls.origin.ports) + [ingress('web', 'a.example', 'web', tls='a-tls'), tls_secret('a-tls', cls.cert, cls.key)]

    def setUp(self):
        # A session of TLS 1.2 knows nothing of 1.3, so there is a client of each.
        self.clients = {}
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = ssl.create_default_context(cafile=self.cert)
            context.minimum_version = context.maximum_version = version
            self.clients[version] = context

    def gateway(self, entries=None, config=CONFIG, workers=2):
        folder = tempfile.mkdtemp(dir=self.work.name)
        if entries is not None:
            with open(os.path.join(folder, 'tickets.json'), 'w') as f:
                json.dump(keys(entries), f)
        gw = Gateway(self.objects, https=True, workers=workers, config=config, folder=folder)
        self.addCleanup(gw.stop)
        return gw

    def told(self, gw, text):
        gw.until(lambda: text in slurp(gw.log_path), what=text)

    def change(self, entries, *gateways):
        """Other keys, and they are in force in every worker."""
        for gw in gateways:
            gw.settled()
            before = generation(gw)
            gw.write('tickets.json', [keys(entries)])
            gw.until(lambda: generation(gw) > before, what='the changed Secret is in force')

    def exchange(self, gw, version, session=None):
        """One request; (its session, whether it was resumed)."""
        context = self.clients[version]
        with gw.connect(gw.https) as raw, context.wrap_socket(raw, server_hostname='a.example', session=session) as s:
            s.sendall(b'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n')
            self.assertEqual(read_answer(s)[0], 200)
            return s.session, s.session_reused

    def sessions(self, gw):
        """A fresh one of each version."""
        out = {}
        for version in self.clients:
            out[version], resumed = self.exchange(gw, version)
            self.assertFalse(resumed)
        return out

    def resumed(self, gw, sessions):
        """Whether each is resumed, by each of the workers that the kernel chooses; the answer must be one."""
        got = {self.exchange(gw, version, session)[1] for version, session in sessions.items() for _ in range(4)}
        self.assertEqual(len(got), 1, 'all or none')
        return got.pop()

    def test_what_one_gateway_began_the_other_resumes(self):
        key = os.urandom(80)
        one, two = self.gateway({0: key}), self.gateway({0: key})
        other, none = self.gateway({0: os.urandom(80)}), self.gateway(config='')
        for first, second in ((one, two), (two, one)):
            sessions = self.sessions(first)
            self.assertTrue(self.resumed(second, sessions))
            self.assertFalse(self.resumed(other, sessions), 'other keys')
            self.assertFalse(self.resumed(none, sessions), 'keys of its own')
        self.assertTrue(self.resumed(none, self.sessions(none)))
        # The option at run time: from then on it is one of them.
        sessions = self.sessions(one)
        none.write('tickets.json', [keys({0: key})])
        none.configure(CONFIG)
        none.until(lambda: self.resumed_somewhere(none, sessions), what='the option is taken')
        none.settled()
        before = generation(none)
        none.configure('')
        none.until(lambda: generation(none) > before, what='the option is gone')
        self.assertFalse(self.resumed(none, sessions), 'its own again')
        # Bytes of the key are where certificates' keys are, and nowhere else.
        state, kept = os.path.join(one.state, 'last-good'), {}

        def written():
            kept.clear()
            for name in os.listdir(state):
                with open(os.path.join(state, name), 'rb') as f:
                    kept[name] = key in f.read()
            return True in kept.values()
        one.until(written, what='the keys are on disk')
        self.assertEqual(kept, {name: 'secrets' in name for name in kept})
        for text in (key[16:48].hex(), base64.b64encode(key).decode()[:40]):
            self.assertNotIn(text, slurp(one.log_path))

    def resumed_somewhere(self, gw, sessions):
        return all(self.exchange(gw, version, session)[1] for version, session in sessions.items())

    def test_rotation(self):
        first, second, future = (os.urandom(80) for _ in range(3))
        now = int(time.time())
        one, two = self.gateway({0: first}), self.gateway({0: first})
        old = self.sessions(one)
        # The next one lies ready: it makes no tickets before its time.
        later = now + 86_400
        self.change({0: first, later: future}, one, two)
        self.assertTrue(self.resumed(two, old))
        early = self.sessions(one)
        # A key whose time has come makes the tickets; those of the older one are still good.
        self.change({0: first, now - 1: second, later: future}, one, two)
        for gw in (one, two):
            self.assertTrue(self.resumed(gw, old), 'tickets of the older key')
            self.assertTrue(self.resumed(gw, early))
        new = self.sessions(one)
        # A resumed session's next ticket is of the newer key, too.
        renewed = {version: self.exchange(two, version, session)[0] for version, session in old.items()}
        self.change({now - 1: second, later: future}, one, two)
        for gw in (one, two):
            self.assertFalse(self.resumed(gw, old), 'its key is gone')
            self.assertFalse(self.resumed(gw, early), 'a key of the future made no ticket')
            self.assertTrue(self.resumed(gw, new))
            self.assertTrue(self.resumed(gw, renewed))
        # The key of the future may already open: clocks differ.
        self.change({later: future}, one)
        self.assertFalse(self.resumed(one, new))
        self.change({now - 1: second, later: future}, one)
        self.assertTrue(self.resumed(one, new))

    def test_a_broken_secret_keeps_the_last_good_keys_and_says_so(self):
        first, second = os.urandom(80), os.urandom(80)
        gw = self.gateway({0: first})
        sessions = self.sessions(gw)
        gw.write('tickets.json', [keys({0: first[:79]})])
        self.told(gw, 'Secret infra/tickets: entry \\"0\\" is left out: it holds 79 bytes, not 80')
        self.told(gw, 'its last good ticket keys stay in use')
        self.assertTrue(self.resumed(gw, sessions))
        # Gone altogether: the same.
        gw.remove('tickets.json')
        self.told(gw, 'Secret infra/tickets does not exist; its last good ticket keys stay in use')
        self.assertTrue(self.resumed(gw, sessions))
        # Both planes begin anew and have them from disk only.
        gw.end()
        gw.start()
        self.told(gw, 'ticket keys missing in the new state, the last good ones stay in use')
        self.assertTrue(self.resumed(gw, sessions))
        # One good entry is enough; the bad ones beside it are told.
        self.change({0: first, 'current': second}, gw)
        self.told(gw, 'entry \\"current\\" is left out: its name is no Unix second')
        self.assertTrue(self.resumed(gw, sessions))
        self.change({0: second}, gw)
        self.assertFalse(self.resumed(gw, sessions))

    def test_a_secret_that_never_was_leaves_the_keys_of_the_instance(self):
        one, two = self.gateway(), self.gateway()
        sessions = self.sessions(one)
        self.assertTrue(self.resumed(one, sessions))
        self.assertFalse(self.resumed(two, sessions))
        for gw in (one, two):
            self.told(gw, 'Secret infra/tickets does not exist; its last good ticket keys are used if the data plane has them')


if __name__ == '__main__':
    unittest.main(verbosity=2, warnings='ignore')
