"""HPACK (RFC 7541) for tests: a decoder that takes nothing wrong, and pieces of an encoder from which right and wrong blocks are put together. Only the standard
library."""

# Appendix A, from index 1.
_STATIC = """:authority;:method GET;:method POST;:path /;:path /index.html;:scheme http;:scheme https;:status 200;:status 204;:status 206;:status 304;:status 400;\
:status 404;:status 500;accept-charset;accept-encoding gzip, deflate;accept-language;accept-ranges;accept;access-control-allow-origin;age;allow;authorization;\
cache-control;content-disposition;content-encoding;content-language;content-length;content-location;content-range;content-type;cookie;date;etag;expect;expires;from;host;\
if-match;if-modified-since;if-none-match;if-range;if-unmodified-since;last-modified;link;location;max-forwards;proxy-authenticate;proxy-authorization;range;referer;refresh;\
retry-after;server;set-cookie;strict-transport-security;transfer-encoding;user-agent;vary;via;www-authenticate"""
STATIC = [(name, value) for name, _, value in (entry.encode().partition(b' ') for entry in _STATIC.split(';'))]

# Appendix B: the code is canonical, so the length of each symbol's code says all (256 is EOS).
_LENGTHS = bytes.fromhex(
    '0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606060607080f060c0a0d06070707070707070707070707070707'
    '070707070707070807080d130d0e060f05060506050606060507070606060506070605050607070707070f0b0e0d1c141614141616161716171717171718171818161718171717171516171617171816151416'
    '161717151716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a171a1b1a1a1b1b1b'
    '1b1b1c1b1b1b1b1b1a1e')


def _codes():
    codes, code, length = {}, 0, 0
    for n, symbol in sorted((n, symbol) for symbol, n in enumerate(_LENGTHS)):
        code <<= n - length
        length = n
        codes[n, code] = symbol
        code += 1
    return codes


_CODES = _codes()
_CODE_OF = {symbol: (n, code) for (n, code), symbol in _CODES.items()}


class Bad(Exception):
    """RFC 7541 calls it a decoding error."""


def unhuffman(data):
    out, code, length = bytearray(), 0, 0
    for byte in data:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            symbol = _CODES.get((length, code))
            if symbol is not None:
                if symbol == 256:
                    raise Bad('EOS in a string')
                out.append(symbol)
                code = length = 0
            elif length > 30:
                raise Bad('no such code')
    if length > 7 or code != (1 << length) - 1:
        raise Bad('padding')
    return bytes(out)


def huffman(data):
    bits, count = 0, 0
    for byte in data:
        n, code = _CODE_OF[byte]
        bits, count = bits << n | code, count + n
    pad = -count % 8
    return (bits << pad | (1 << pad) - 1).to_bytes((count + pad) // 8, 'big')


# ---- encoder

def integer(value, prefix, first=0):
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytearray([first | most]), value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(data, coded=False):
    return integer(len(data := huffman(data)), 7, 0x80) + data if coded else integer(len(data), 7) + data


def indexed(index):
    return integer(index, 7, 0x80)


def literal(name, value, index=False, never=False, coded=False):
    """name: bytes, or the index of an entry. index: it goes to the dynamic table."""
    first, prefix = (0x40, 6) if index else (0x10, 4) if never else (0, 4)
    start = integer(name, prefix, first) if isinstance(name, int) else bytes([first]) + string(name, coded)
    return start + string(value, coded)


def table_size(size):
    return integer(size, 5, 0x20)


def block(fields):
    """Literals that touch no table: what is said is what is sent."""
    return b''.join(literal(name, value) for name, value in fields)


# ---- decoder

class Decoder:
    def __init__(self, most=4096):
        self.most = self.size_limit = most
        self.table, self.size = [], 0  # newest first

    def _integer(self, data, at, prefix):
        most = (1 << prefix) - 1
        value = data[at] & most
        at += 1
        if value < most:
            return value, at
        for shift in range(0, 35, 7):
            if at >= len(data):
                break
            value += (data[at] & 127) << shift
            at += 1
            if not data[at - 1] & 128:
                return value, at
        raise Bad('integer')

    def _string(self, data, at):
        if at >= len(data):
            raise Bad('string')
        coded = data[at] & 0x80
        size, at = self._integer(data, at, 7)
        if at + size > len(data):
            raise Bad('string')
        return (unhuffman(data[at:at + size]) if coded else data[at:at + size]), at + size

    def _entry(self, index):
        if 1 <= index <= len(STATIC):
            return STATIC[index - 1]
        if 0 < index - len(STATIC) <= len(self.table):
            return self.table[index - len(STATIC) - 1]
        raise Bad(f'index {index}')

    def _shrink(self, size):
        while self.size > size:
            name, value = self.table.pop()
            self.size -= len(name) + len(value) + 32

    def decode(self, data):
        fields, at = [], 0
        while at < len(data):
            first = data[at]
            if first & 0x80:
                index, at = self._integer(data, at, 7)
                fields.append(self._entry(index))
            elif first & 0xe0 == 0x20:
                if fields:
                    raise Bad('size update behind a field')
                size, at = self._integer(data, at, 5)
                if size > self.most:
                    raise Bad('size update over the limit')
                self.size_limit = size
                self._shrink(size)
            else:
                index, at = self._integer(data, at, 6 if first & 0x40 else 4)
                if index:
                    name = self._entry(index)[0]
                else:
                    name, at = self._string(data, at)
                value, at = self._string(data, at)
                fields.append((name, value))
                if first & 0x40:
                    size = len(name) + len(value) + 32
                    self._shrink(self.size_limit - size if size <= self.size_limit else 0)
                    if size <= self.size_limit:
                        self.table.insert(0, (name, value))
                        self.size += size
        return fields
