#!/usr/bin/env python3
"""Files over 600 lines and functions over 80 lines must be in hack/sizes.txt with their reason; entries that are no longer needed must go.
Functions are found by their braces: good enough for code that clang-format has written."""
import os
import re
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), '..'))
MAX_FILE, MAX_FUNCTION = 600, 80
# Comments and literals, replaced by blanks so that their braces do not count and lines stay.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|R"([^()\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'|^[ \t]*#(?:\\\n|[^\n])*', re.S | re.M)
SCOPE = re.compile(r'\b(namespace|class|struct|union|enum|extern)\b[^;{}()=]*$')
# A parameter list, and what may follow it before the body.
FUNCTION = re.compile(r'([\w~:<>,&*\s\[\]=+\-/!|^%]*?([\w~:]+|operator\s*\S+))\s*\(.*\)[^;{}]*$', re.S)


def functions(text):
    """(name, first line, lines) of each function body that is not inside another."""
    text = NOISE.sub(lambda m: re.sub(r'[^\n]', ' ', m[0]), text)
    stack, start, line = [], 0, 1
    for i, c in enumerate(text):
        if c == '\n':
            line += 1
        elif c == '{':
            head = text[start:i]
            inside = any(kind == 'function' for kind, _, _ in stack)
            kind, name = 'other', ''
            m = FUNCTION.search(head)
            if SCOPE.search(head) and not (m and head.rstrip().endswith((')', 'const', 'override', 'noexcept'))):
                kind = 'scope'
            elif not inside and m and '(' in head:
                kind, name = 'function', m[2]
            stack.append((kind, name, line))
            start = i + 1
        elif c == '}':
            if stack:
                kind, name, first = stack.pop()
                if kind == 'function':
                    yield name, first, line - first + 1
            start = i + 1
        elif c == ';':
            start = i + 1


def main():
    listed = {}
    for n, row in enumerate(open(os.path.join(ROOT, 'hack', 'sizes.txt')), 1):
        row = row.strip()
        if row and not row.startswith('#'):
            what, _, reason = row.partition(': ')
            if not reason:
                print(f'hack/sizes.txt:{n}: no reason')
                sys.exit(1)
            listed[what] = reason
    needed, errors = set(), 0
    for base in ('common', 'controlplane', 'dataplane', 'tests', 'hack', 'examples'):
        for folder, folders, files in os.walk(os.path.join(ROOT, base)):
            folders[:] = [f for f in folders if f not in ('corpus', 'golden', '__pycache__')]
            for name in files:
                path = os.path.relpath(os.path.join(folder, name), ROOT)
                if not name.endswith(('.h', '.cpp', '.py', '.c')):
                    continue
                text = open(os.path.join(ROOT, path), errors='replace').read()
                found = [(path, text.count('\n'), MAX_FILE)]
                if name.endswith(('.h', '.cpp')) and base != 'tests':
                    found += [(f'{path} {function}', lines, MAX_FUNCTION) for function, _, lines in functions(text)]
                for what, lines, limit in found:
                    if lines > limit:
                        needed.add(what)
                        if what not in listed:
                            print(f'{what}: {lines} lines, more than {limit}: make it smaller, or give the reason in hack/sizes.txt')
                            errors += 1
    for what in sorted(set(listed) - needed):
        print(f'hack/sizes.txt: {what} is not needed any more')
        errors += 1
    print(f'sizes: {errors} problems')
    sys.exit(1 if errors else 0)


if __name__ == '__main__':
    main()
