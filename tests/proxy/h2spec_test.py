#!/usr/bin/env python3
"""h2spec (hack/go-tools), strict, against the gateway as an HTTP/2 server: by prior knowledge on the plain listener and by ALPN on the TLS one. Every case is a
test; one may be skipped (it needs an answer of a certain size or a limit that is not there). Against a server that runs already: H2SPEC_TARGET=HOST:PORT[:tls]."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..'))
from lib.gateway import CLASS, Gateway, ingress, make_certificate, service, tls_secret  # noqa: E402
from lib.go_tools import go_tool  # noqa: E402
from lib.raw_http import RawUpstream  # noqa: E402

CASES = 146  # of h2spec 2.2.1 with --strict
NAME = 'localhost'
PLAIN = {'sluice.dev/ssl-redirect': 'false'}
# How long it waits for a reaction, in seconds: what works does not wait, and what stays silent where it must speak is wrong after this.
PATIENCE = os.environ.get('SLUICE_TEST_PATIENCE', '15')


def run(host, port, tls):
    """(passed, skipped, failed): lists of "SECTION: what is tried[: what was seen]"."""
    with tempfile.TemporaryDirectory(prefix='sluice-h2spec.') as work:
        report = os.path.join(work, 'report.xml')
        done = subprocess.run([go_tool('h2spec'), '-h', host, '-p', str(port), '-P', '/h2spec', '-S', '-o', PATIENCE, '-j', report] + (['-t', '-k'] if tls else []),
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=CASES * float(PATIENCE))
        if not os.path.exists(report):
            raise AssertionError(f'h2spec ended with {done.returncode} and without a report:\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
        passed, skipped, failed = [], [], []
        for suite in xml.etree.ElementTree.parse(report).getroot():
            for case in suite.findall('testcase'):
                name = f'{suite.get("package")}: {case.get("classname")}'
                if (wrong := case.find('failure')) is None:
                    wrong = case.find('error')
                if wrong is not None:
                    failed.append(f'{name}: {" ".join((wrong.text or "").split())}')
                else:
                    (skipped if case.find('skipped') is not None else passed).append(name)
        return passed, skipped, failed


class H2Spec(unittest.TestCase):
    passed = failed = 0

    def judge(self, host, port, tls):
        passed, skipped, failed = run(host, port, tls)
        where = 'TLS' if tls else 'cleartext'
        for one in failed:
            print(f'FAIL: {where} {one}', flush=True)
        print(f'{where}: {len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped {skipped}', flush=True)
        H2Spec.passed += len(passed)
        H2Spec.failed += len(failed)
        self.assertEqual(failed, [])
        self.assertEqual(len(passed) + len(skipped), CASES)
        self.assertLessEqual(len(skipped), 1, skipped)

    def test_strict(self):
        if given := os.environ.get('H2SPEC_TARGET'):
            host, port, *tls = given.split(':')
            self.judge(host, int(port), bool(tls))
            return
        work = tempfile.mkdtemp(prefix='sluice-h2spec.')
        self.addCleanup(shutil.rmtree, work, ignore_errors=True)
        with RawUpstream() as upstream:
            upstream.script([b'HTTP/1.1 200 OK\r\nContent-Length: 4096\r\nContent-Type: text/plain\r\n\r\n' + b'0123456789abcde\n' * 256], False)
            # The name by which h2spec asks is the one in its handshake.
            objects = [CLASS, tls_secret('cert', *make_certificate(work, NAME))] + service('up', [upstream.port]) + [ingress('any', '', 'up'), ingress('tls', NAME, 'up', tls='cert', annotations=PLAIN)]
            with Gateway(objects, https=True) as gateway:
                for port, tls in ((gateway.http, False), (gateway.https, True)):
                    with self.subTest(tls=tls):
                        self.judge(NAME, port, tls)
                self.assertIsNone(gateway.proc.poll(), 'the gateway is gone')


if __name__ == '__main__':
    done = unittest.main(verbosity=2, exit=False).result
    # Each case at each listener is a test of its own; what went wrong outside of them counts too.
    outside = len(done.errors) + (0 if H2Spec.failed else len(done.failures))
    print(f'{H2Spec.passed} passed, {H2Spec.failed + outside} failed', flush=True)
    sys.exit(0 if done.wasSuccessful() and H2Spec.passed else 1)
