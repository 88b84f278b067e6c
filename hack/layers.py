#!/usr/bin/env python3
"""Checks the architecture from #include lines: who may include whom, and which room may include which third-party header. docs/architecture.md draws it."""
import os
import re
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))

# Room -> rooms it may include, beside itself and common/base. The data flows from left to right; nothing points back.
ALLOWED = {
    'common/base': [],
    'common/ir': [],
    'controlplane/store': ['common/ir'],
    'controlplane/config': ['common/ir', 'controlplane/store'],
    'controlplane/kube': ['controlplane/store'],
    'controlplane/resolve': ['controlplane/store'],
    'controlplane/source': ['common/ir', 'controlplane/store', 'controlplane/kube'],
    'controlplane/features': ['common/ir', 'controlplane/store'],
    'controlplane/translate': ['common/ir', 'controlplane/store', 'controlplane/features', 'controlplane/config'],
    'controlplane/compile': ['common/ir', 'controlplane/translate'],
    'controlplane/publish': ['common/ir'],
    'controlplane/status': ['common/ir', 'controlplane/store', 'controlplane/translate', 'controlplane/kube', 'controlplane/config'],
    'controlplane/admin': ['common/ir', 'controlplane/store'],
    'controlplane/loop': ['common/ir', 'controlplane/store', 'controlplane/resolve', 'controlplane/config', 'controlplane/translate', 'controlplane/compile', 'controlplane/publish'],
    'dataplane/shared': ['common/ir', 'dataplane/http'],
    'dataplane/net': ['common/ir', 'dataplane/shared'],
    'dataplane/http': [],
    'dataplane/route': ['common/ir', 'dataplane/http', 'dataplane/shared'],
    'dataplane/filters': ['common/ir', 'dataplane/http', 'dataplane/shared'],
    'dataplane/upstream': ['common/ir', 'dataplane/http', 'dataplane/net', 'dataplane/shared'],
    'dataplane/observe': ['dataplane/http', 'dataplane/net', 'dataplane/shared'],
    'dataplane/sync': ['common/ir', 'dataplane/net', 'dataplane/shared'],
    'dataplane/agent': ['common/ir', 'dataplane/sync', 'dataplane/shared', 'dataplane/http', 'dataplane/net'],
    'dataplane/master': ['common/ir', 'dataplane/sync', 'dataplane/shared', 'dataplane/net'],
    'dataplane/worker': ['common/ir', 'dataplane/sync', 'dataplane/net', 'dataplane/http', 'dataplane/route', 'dataplane/filters', 'dataplane/upstream', 'dataplane/observe', 'dataplane/shared'],
}
# Third-party header prefix -> places that may include it. Programs (main.cpp) may take the command line library.
THIRD = {
    'cpprest/': ['controlplane/kube/transport.cpp'],
    'pplx/': ['controlplane/kube/transport.cpp'],
    'boost/': ['common/base/asio.h', 'controlplane/kube/transport.cpp', 'controlplane/kube/', 'controlplane/admin/'],
    'openssl/': ['controlplane/config/', 'dataplane/net/', 'controlplane/translate/', 'controlplane/kube/', 'dataplane/shared/'],
    'simdjson.h': ['controlplane/kube/'],
    'yaml-cpp/': ['controlplane/config/', 'controlplane/source/', 'controlplane/kube/'],
    're2/': ['dataplane/route/', 'dataplane/filters/', 'controlplane/translate/', 'controlplane/features/', 'common/ir/'],
    'nghttp2/': ['dataplane/http/h2/'],
    'prometheus/': ['dataplane/agent/', 'controlplane/admin/'],
    'nlohmann/': ['common/tool/', 'controlplane/kube/', 'controlplane/status/', 'controlplane/admin/', 'dataplane/agent/'],
    'flatbuffers/': ['common/ir/', 'controlplane/compile/', 'controlplane/translate/'],
    'xxhash.h': ['common/ir/', 'controlplane/compile/', 'controlplane/translate/', 'dataplane/shared/', 'dataplane/route/', 'dataplane/upstream/', 'dataplane/net/'],
    'CLI/': ['controlplane/main.cpp', 'dataplane/main.cpp', 'common/tool/main.cpp'],
}
# Single headers that a room may take from another although the rule says no, each with its reason.
EXCEPTIONS = {
    ('dataplane/http', 'dataplane/net/pending_buffer.h'),  # bytes in memory that are not sent yet: no socket
    ('dataplane/http', 'dataplane/net/timer_wheel.h'),   # an intrusive list node and a deadline: no socket, no clock of its own
    ('dataplane/filters', 'dataplane/route/regex.h'),    # RE2 behind one small class: the one place of the data plane that includes it
}
# Executables stand above all rooms.
FREE = {'controlplane/main.cpp', 'dataplane/main.cpp'}


def main():
    errors = []
    for base in ('common', 'controlplane', 'dataplane'):
        for folder, _, files in os.walk(os.path.join(ROOT, base)):
            for name in files:
                if not name.endswith(('.h', '.cpp')):
                    continue
                path = os.path.relpath(os.path.join(folder, name), ROOT)
                room = '/'.join(path.split('/')[:2])
                plane = path.split('/')[0]
                for n, line in enumerate(open(os.path.join(ROOT, path)), 1):
                    m = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
                    if not m:
                        continue
                    what = m[1]
                    for prefix, places in THIRD.items():
                        if what.startswith(prefix) and not any(path == p or (p.endswith('/') and path.startswith(p)) for p in places):
                            errors.append(f'{path}:{n}: {what} belongs to {", ".join(places)}')
                    target = '/'.join(what.split('/')[:2])
                    if target not in ALLOWED or target in (room, 'common/base') or room == 'common/tool':
                        continue
                    if path in FREE:
                        if target.split('/')[0] not in (plane, 'common'):
                            errors.append(f'{path}:{n}: {what}: the planes never include each other')
                    elif room not in ALLOWED:
                        errors.append(f'{path}: the room {room} is not in hack/layers.py')
                    elif target not in ALLOWED[room] and (room, what) not in EXCEPTIONS:
                        errors.append(f'{path}:{n}: {room} may not include {target}')
    for e in errors:
        print(e)
    print(f'layers: {len(errors)} problems')
    sys.exit(1 if errors else 0)


if __name__ == '__main__':
    main()
