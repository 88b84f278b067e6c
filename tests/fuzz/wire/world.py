"""What a run knows: what each input can have meant, what reached an origin, which answers were given, and what was wrong."""
import collections
import itertools
import zlib

# What the gateway says of its own of every request, and what frames it.
OWN = {b'x-forwarded-for', b'x-forwarded-proto', b'x-forwarded-host', b'x-forwarded-port', b'x-real-ip', b'x-request-id', b'forwarded', b'host', b'content-length',
       b'transfer-encoding', b'te', b'connection', b'upgrade'}
OWN_OF_ANSWERS = {b'date', b'content-length', b'transfer-encoding', b'connection'}
NEIGHBOUR = b'/n/'


class Meant:
    """A request that an input holds by the loosest right reading. complete: to its end; doubt: whether it does may be seen either way."""
    __slots__ = ('input', 'host', 'body', 'fields', 'trailers', 'complete', 'doubt', 'taken', 'any')

    def __init__(self, input, host, body, fields, trailers, complete, doubt):
        self.input, self.host, self.body, self.complete, self.doubt, self.taken = input, host, bytes(body), complete, doubt, False
        self.fields, self.trailers = set(fields), set(trailers)
        self.any = {n for n, v in fields if v is None}  # the gateway chooses their values
        crumbs = [v for n, v in fields if n == b'cookie']
        if len(crumbs) > 1:
            self.fields.add((b'cookie', b'; '.join(v for v in crumbs if v)))


def same_host(meant, got):
    """IPv6 has a shorter form; without Host (HTTP/1.0) the gateway says what it may."""
    return meant[0][:1] == b'[' or (meant[0], int(meant[1] or 0)) == (got[0], int(got[1] or 0))


class World:
    def __init__(self):
        self.meant = collections.defaultdict(list)  # (method, target): [Meant]
        self.marks, self.next = {}, itertools.count(1)
        self.counts, self.wrong = collections.Counter(), []

    def flag(self, what, input, detail=''):
        """Something is wrong. what: forwarded, answer, neighbour, lenient, lost."""
        self.counts[f'WRONG {what}'] += 1
        self.wrong.append((what, input.name if input else '', str(detail)[:600]))

    def expect(self, input, method, target, *rest):
        self.meant[method, target].append(Meant(input, *rest))

    # ---- at the origins

    def forwarded(self, method, target, host, fields, body, trailers, complete=True):
        """Something has reached an origin. True: it was meant by somebody."""
        if target.startswith(NEIGHBOUR):
            return True
        self.counts['forwarded' if complete else 'forwarded in part'] += 1
        why = 'nobody asked for it'
        for meant in self.meant.get((method, target), ()):
            if not same_host(meant.host, host):
                why = f'host {host}, meant {meant.host}'
            elif extra := [(n, v) for n, v in fields if n not in OWN and (n, v) not in meant.fields and n not in meant.any]:
                why = f'fields that were not sent: {extra}'
            elif extra := [field for field in trailers if field not in meant.trailers]:
                why = f'trailers that were not sent: {extra}'
            elif not complete:
                if meant.body.startswith(bytes(body)):
                    return True
                why = f'a part of another body: {bytes(body)[:100]!r}'
            elif not (meant.complete or meant.doubt):
                why = 'complete, and what was sent is not'
            elif meant.taken:
                why = 'more often than it was sent'
            elif meant.body != body:
                why = f'another body: {bytes(body)[:100]!r}, sent {meant.body[:100]!r}'
            else:
                meant.taken = True
                return True
            input = meant.input
        else:
            input = self.meant[method, target][-1].input if self.meant.get((method, target)) else None
        self.flag('forwarded', input, f'{method} {target}: {why}')
        return False

    def answer(self, method, target):
        """A good one of an origin: (mark, status, fields, body, whether it says its length)."""
        number = next(self.next)
        salt = 1 if target.startswith(NEIGHBOUR) else zlib.crc32(target)
        status = 200 if salt % 16 else (204, 304, 404, 500)[salt // 16 % 4]
        body = (b'%d:%s;' % (number, target)) * (1 + (salt >> 8) % 4) if status not in (204, 304) else b''
        fields = [(b'x-mark', b'%d' % number), (b'content-type', b'text/plain')]
        self.marks[number] = (method, target, status, b'' if method == b'HEAD' else body)
        return number, status, fields, body, bool(salt & 128)

    # ---- at the clients

    def check_marked(self, input, mark, asked, status, body, complete):
        """An answer that bears an origin's mark: it must be the one to what was asked."""
        known = self.marks.get(int(mark)) if mark.isdigit() else None
        if known is None:
            self.flag('answer', input, f'a mark that no origin set: {mark!r}')
        elif known[:2] != asked:
            self.flag('answer', input, f'the answer to {known[:2]} came for {asked}')
        elif status != known[2] or (complete and bytes(body) != known[3]) or not known[3].startswith(bytes(body)):
            self.flag('answer', input, f'{status} {bytes(body)[:100]!r} instead of {known[2:]}, complete {complete}')
        else:
            self.counts['answers of an origin'] += 1
