"""Reads h1_cases.txt; its format is described at its top."""
import re
from dataclasses import dataclass, field

OUTCOMES = {"refuse", "refuse-body", "forward", "deliver", "bad-gateway", "cut"}
_ESCAPE = re.compile(rb"\\(?:([rnts\\])|x([0-9a-fA-F]{2})|\{(.)\*(\d+)\})", re.S)
_SIMPLE = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"s": b" ", b"\\": b"\\"}


def unescape(text):
    def one(match):
        if match.group(1):
            return _SIMPLE[match.group(1)]
        if match.group(2):
            return bytes([int(match.group(2), 16)])
        return match.group(3) * int(match.group(4))

    return _ESCAPE.sub(one, text.encode("ascii"))


@dataclass
class Outcome:
    kind: str
    argument: str
    details: list = field(default_factory=list)  # (word, rest)

    def all(self, word):
        return [rest for w, rest in self.details if w == word]

    def has(self, word):
        return any(w == word for w, _ in self.details)


@dataclass
class Case:
    id: str
    rfc: str
    method: str = "GET"
    sends: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    eof: bool = False
    bytewise: bool = False
    outcomes: list = field(default_factory=list)

    @property
    def is_request(self):
        return self.outcomes[0].kind in ("forward", "refuse", "refuse-body")


def read(path):
    cases, rfc = [], ""
    with open(path, encoding="ascii") as lines:
        for number, line in enumerate(lines, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            word, _, rest = line.partition(" ")
            if word == "rfc":
                rfc = rest
            elif word == "case":
                cases.append(Case(rest, rfc))
            elif word == "send":
                cases[-1].sends.append(unescape(rest))
            elif word == "answer":
                cases[-1].answers.append(unescape(rest))
            elif word == "method":
                cases[-1].method = rest
            elif word == "eof":
                cases[-1].eof = True
            elif word == "bytewise":
                cases[-1].bytewise = True
            elif word == "sockets-only":
                pass
            elif word in OUTCOMES:
                cases[-1].outcomes.append(Outcome(word, rest))
            elif cases and cases[-1].outcomes:
                cases[-1].outcomes[-1].details.append((word, rest))
            else:
                raise ValueError(f"{path}:{number}: unknown word {word!r}")
    return cases
