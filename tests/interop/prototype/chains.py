"""What a chain file says, read without the program under test (Keccak-256, RLP), and chains with one lie in them."""
from functools import lru_cache
from pathlib import Path
from geth import Chain

# Fields of a header that the checks speak about, by position.
PARENT, STATE_ROOT, RECEIPTS_ROOT, BLOOM, NUMBER, GAS_USED, REQUESTS = 0, 3, 5, 6, 8, 10, 20

_MASK = (1 << 64) - 1
_SHIFTS = [[0, 36, 3, 41, 18], [1, 44, 10, 45, 2], [62, 6, 43, 15, 61], [28, 55, 25, 21, 56], [27, 20, 39, 8, 14]]


def _constants():
    """The round constants, from the shift register that the standard defines them by."""
    state, constants = 1, []
    for _ in range(24):
        constant = 0
        for power in range(7):
            if state & 1:
                constant |= 1 << ((1 << power) - 1)
            state = (state << 1) ^ (0x171 if state & 0x80 else 0)
        constants.append(constant)
    return constants


_CONSTANTS = _constants()


def _rotate(value, by):
    return ((value << by) | (value >> (64 - by))) & _MASK


def _permute(lanes):
    for constant in _CONSTANTS:
        column = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        mixed = [column[x - 1] ^ _rotate(column[(x + 1) % 5], 1) for x in range(5)]
        moved = [[0] * 5 for _ in range(5)]
        for x in range(5):
            for y in range(5):
                moved[y][(2 * x + 3 * y) % 5] = _rotate(lanes[x][y] ^ mixed[x], _SHIFTS[x][y])
        lanes = [[moved[x][y] ^ (~moved[(x + 1) % 5][y] & moved[(x + 2) % 5][y]) for y in range(5)] for x in range(5)]
        lanes[0][0] ^= constant
    return lanes


def keccak(data):
    rate = 136
    padded = bytearray(data) + b"\x01" + bytes(-(len(data) + 1) % rate)
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for block in range(0, len(padded), rate):
        for lane in range(rate // 8):
            at = block + lane * 8
            lanes[lane % 5][lane // 5] ^= int.from_bytes(padded[at:at + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lanes[lane % 5][lane // 5].to_bytes(8, "little") for lane in range(4))


def encode(item):
    """RLP of nested lists of bytes and of whole numbers."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, (bytes, bytearray)):
        if len(item) == 1 and item[0] < 0x80:
            return bytes(item)
        return _prefix(0x80, len(item)) + item
    payload = b"".join(map(encode, item))
    return _prefix(0xC0, len(payload)) + payload


def _prefix(kind, length):
    if length < 56:
        return bytes([kind + length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([kind + 55 + len(size)]) + size


def span(data, at):
    """Where the payload of the item at `at` begins and ends, and whether it is a list."""
    first = data[at]
    if first < 0x80:
        return at, at + 1, False
    is_list = first >= 0xC0
    length = first - (0xC0 if is_list else 0x80)
    begin = at + 1
    if length > 55:
        size, begin = length - 55, begin + length - 55
        length = int.from_bytes(data[begin - size:begin], "big")
    return begin, begin + length, is_list


def decode(data, at=0):
    """The item at `at`, as bytes or a list."""
    begin, end, is_list = span(data, at)
    if not is_list:
        return data[begin:end]
    items = []
    while begin < end:
        items.append(decode(data, begin))
        begin = span(data, begin)[1]
    return items


@lru_cache
def _offsets(chain):
    raw, at, offsets = chain.raw(), 0, []
    while at < len(raw):
        offsets.append(at)
        at = span(raw, at)[1]
    return offsets


@lru_cache(maxsize=4096)
def block(chain, number):
    """Hash and state root of one block, computed from the file."""
    raw = chain.raw()
    at = span(raw, _offsets(chain)[number - 1])[0]
    header = raw[at:span(raw, at)[1]]
    return "0x" + keccak(header).hex(), "0x" + decode(header)[STATE_ROOT].hex()


def state_root(chain):
    """The root that the head's header names."""
    return block(chain, chain.head)[1]


def with_a_lie(chain, folder, name, at, upto, field, lie):
    """The chain's first blocks, one header field of block `at` replaced, every later block linked to that."""
    raw, blocks, parent = chain.raw(), [], None
    for offset in _offsets(chain)[:upto]:
        header, *body = decode(raw, offset)
        number = int.from_bytes(header[NUMBER], "big")
        if parent:
            header[PARENT] = parent
        if number == at:
            header[field] = lie(header[field])
        if number >= at:
            parent = keccak(encode(header))
        blocks.append(encode([header, *body]))
    file = Path(folder) / f"{name}.rlp"
    file.write_bytes(b"".join(blocks))
    return Chain(name, chain.genesis, file, upto, "0x" + parent.hex(), chain.network)


def another_hash(value):
    return keccak(value)


def another_bloom(value):
    return bytes([value[0] ^ 1]) + value[1:]


def one_less(value):
    less = int.from_bytes(value, "big") - 1
    return less.to_bytes((less.bit_length() + 7) // 8, "big")
