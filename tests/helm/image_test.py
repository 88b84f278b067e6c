#!/usr/bin/env python3
"""The image that hack/image makes: well-formed for container engines, the same bytes for the same build, and in it nothing but the programs, what they need to
start, and the authorities. tests/cluster/install_test.py runs it."""
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..'))
from lib.gateway import BUILD, ROOT  # noqa: E402

PROGRAMS = {'sluice', 'sluice-controlplane', 'sluice-dataplane'}


def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix='sluice-image.')
        cls.path = cls.make('image.tar', '--name', 'registry.example/sluice:test')
        with tarfile.open(cls.path) as image:
            cls.members = {m.name: image.extractfile(m).read() for m in image if m.isreg()}
        cls.index = json.loads(cls.members['index.json'])
        cls.manifest = json.loads(cls.blob(cls.index['manifests'][0]))
        cls.config = json.loads(cls.blob(cls.manifest['config']))
        cls.layer = cls.blob(cls.manifest['layers'][0])
        cls.root = os.path.join(cls.work.name, 'root')
        with tarfile.open(fileobj=io.BytesIO(cls.layer), mode='r:gz') as files:
            cls.files = files.getmembers()
            files.extractall(cls.root)

    @classmethod
    def tearDownClass(cls):
        cls.work.cleanup()

    @classmethod
    def make(cls, name, *args):
        path = os.path.join(cls.work.name, name)
        subprocess.run([os.path.join(ROOT, 'hack', 'image'), path, '--build', BUILD, *args], check=True)
        return path

    @classmethod
    def blob(cls, descriptor):
        data = cls.members['blobs/' + descriptor['digest'].replace(':', '/')]
        assert (digest(data), len(data)) == (descriptor['digest'], descriptor['size']), descriptor
        return data

    def test_engines_find_their_way(self):
        self.assertEqual(self.config['rootfs']['diff_ids'], [digest(gzip.decompress(self.layer))])
        self.assertEqual(json.loads(self.members['oci-layout']), {'imageLayoutVersion': '1.0.0'})
        [old] = json.loads(self.members['manifest.json'])
        self.assertEqual(old['RepoTags'], ['registry.example/sluice:test'])
        self.assertEqual([json.loads(self.members[old['Config']]), [self.members[one] for one in old['Layers']]], [self.config, [self.layer]])
        self.assertEqual(self.index['manifests'][0]['annotations']['io.containerd.image.name'], 'registry.example/sluice:test')
        self.assertNotIn(self.config['config']['User'].split(':')[0], ('', '0', 'root'))

    def test_same_build_same_bytes(self):
        with open(self.path, 'rb') as one, open(self.make('again.tar', '--name', 'registry.example/sluice:test'), 'rb') as two:
            self.assertEqual(digest(one.read()), digest(two.read()))

    def test_nothing_else_is_in_it(self):
        for one in self.files:
            self.assertEqual((one.uid, one.gid, one.mode & 0o7022 if not one.issym() else 0, one.mtime), (0, 0, 0, 0), one.name)
            self.assertTrue(one.isdir() or one.isreg() or one.issym(), one.name)
        regular = [one.name for one in self.files if one.isreg()]
        self.assertEqual({name.removeprefix('usr/bin/') for name in regular if '/bin/' in name}, PROGRAMS)
        rest = [name for name in regular if '/bin/' not in name and '.so.' not in name]
        self.assertEqual(rest, ['etc/ssl/certs/ca-certificates.crt'])

    def test_every_program_starts_in_it(self):
        enter = ['unshare', '--mount', *([] if os.geteuid() == 0 else ['--map-root-user']), '/usr/sbin/chroot', self.root]
        for name in PROGRAMS:
            done = subprocess.run([*enter, name, 'version' if name == 'sluice' else '--version'], capture_output=True, text=True, env={'PATH': self.config['config']['Env'][0][5:] + ':/usr/sbin'})
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertRegex(done.stdout, r'\d+\.\d+\.\d+')
        self.assertTrue(os.path.exists(os.path.join(self.root, 'usr', 'bin', 'sluice')))
        self.assertFalse(os.path.exists(os.path.join(self.root, 'bin')))


if __name__ == '__main__':
    unittest.main(verbosity=2)
