"""Reads h2_cases.txt; its format is described at its top."""
import re
from dataclasses import dataclass, field

from h1_cases import Outcome, unescape

OUTCOMES = {'forward', 'malformed', 'refuse', 'refuse-body', 'goaway', 'deliver', 'bad-gateway', 'cut'}
FRAMES = {'head', 'data', 'trailers', 'frame', 'reset', 'close', 'open', 'end'}
DEFAULTS = [(b':method', b'GET'), (b':scheme', b'http'), (b':path', b'/x'), (b':authority', b'a.example')]


@dataclass
class Case:
    id: str
    rfc: str
    method: str = 'GET'
    sends: list = field(default_factory=list)     # bytes of an HTTP/1.1 client
    frames: list = field(default_factory=list)    # of an HTTP/2 client: (word, what)
    answers: list = field(default_factory=list)   # bytes of an HTTP/1.1 upstream
    replies: list = field(default_factory=list)   # frames of an HTTP/2 upstream
    eof: bool = False
    outcomes: list = field(default_factory=list)

    @property
    def kind(self):
        """request: HTTP/2 client; upgrade: HTTP/1.1 client, HTTP/2 upstream; answer, reply: what an HTTP/1.1 or HTTP/2 upstream says."""
        return 'request' if self.frames else 'upgrade' if self.sends else 'answer' if self.answers else 'reply'


def fields(text):
    """NAME VALUE | NAME VALUE | ...; get, post: the usual pseudo-header fields."""
    out = []
    for one in text.split(' | ') if text else []:
        if one in ('get', 'post'):
            out += [(n, one.upper().encode() if n == b':method' else v) for n, v in DEFAULTS]
            continue
        times = re.match(r'(\d+)\* ', one)
        name, _, value = one[times.end() if times else 0:].partition(' ')
        out += [(unescape(name), unescape(value))] * (int(times[1]) if times else 1)
    return out


def one_frame(word, rest):
    if word in ('head', 'trailers'):
        return word, fields(rest)
    if word == 'data':
        return word, unescape(rest)
    if word == 'frame':
        kind, flags, payload = (rest + ' ').split(' ', 2)
        return word, (int(kind), int(flags), unescape(payload[:-1]))
    return word, int(rest) if rest else None


def read(path):
    cases, rfc = [], ''
    with open(path, encoding='ascii') as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip('\n')
            if not line or line.startswith('#'):
                continue
            word, _, rest = line.partition(' ')
            last = cases[-1] if cases else None
            if word == 'rfc':
                rfc = rest
            elif word == 'case':
                if any(c.id == rest for c in cases):
                    raise ValueError(f'{path}:{number}: {rest} is there already')
                cases.append(Case(rest, rfc))
            elif word in OUTCOMES:
                last.outcomes.append(Outcome(word, rest))
            elif last.outcomes:
                last.outcomes[-1].details.append((word, rest))
            elif word == 'send':
                last.sends.append(unescape(rest))
            elif word == 'answer':
                last.answers.append(unescape(rest))
            elif word == 'method':
                last.method = rest
            elif word == 'eof':
                last.eof = True
            elif word in FRAMES:
                last.frames.append(one_frame(word, rest))
            elif word.startswith('up-') and word[3:] in FRAMES:
                last.replies.append(one_frame(word[3:], rest))
            else:
                raise ValueError(f'{path}:{number}: unknown word {word!r}')
    return cases
