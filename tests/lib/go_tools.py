"""Programs of hack/go-tools for the tests."""
import functools
import os
import subprocess

from lib.gateway import ROOT

SCRIPT = os.path.join(ROOT, 'hack', 'go-tools')


@functools.cache
def go_tool(name):
    """Where a program of hack/go-tools is; built if it is not, or not from these sources."""
    subprocess.run([SCRIPT, 'build'], check=True, stdin=subprocess.DEVNULL)
    return subprocess.run([SCRIPT, 'path', name], check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout.strip()
