"""Signed transactions of accounts that the short chain's genesis funds, made without the program under test."""
import json
from functools import lru_cache
from chains import encode, keccak
from geth import DATA

# secp256k1.
_P = 2**256 - 2**32 - 977
_N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
      0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)


def _add(one, other):
    if one is None or other is None:
        return one or other
    if one[0] == other[0]:
        if (one[1] + other[1]) % _P == 0:
            return None
        slope = 3 * one[0] * one[0] * pow(2 * one[1], -1, _P) % _P
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P) % _P
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _times(factor, point=_G):
    total = None
    while factor:
        if factor & 1:
            total = _add(total, point)
        point, factor = _add(point, point), factor >> 1
    return total


def _sign(digest, secret):
    """Parity, r and s, with the lower of the two s that are right."""
    message = int.from_bytes(digest, "big")
    once = int.from_bytes(keccak(secret.to_bytes(32, "big") + digest), "big") % _N
    x, y = _times(once)
    r, parity = x % _N, y & 1
    s = pow(once, -1, _N) * (message + r * secret) % _N
    return (parity ^ 1, r, _N - s) if s > _N // 2 else (parity, r, s)


class Account:
    """Who can pay."""

    def __init__(self, secret):
        self.secret = secret
        x, y = _times(secret)
        self.address = keccak(x.to_bytes(32, "big") + y.to_bytes(32, "big"))[-20:]

    def transfer(self, chain_id, nonce, value=1, gas=21000, tip=10**9, cap=10**11, to=b"\x11" * 20, data=b""):
        """A dynamic-fee transaction as it goes over the wire outside of blocks. Its hash and its bytes."""
        fields = [chain_id, nonce, tip, cap, gas, to, value, data, []]
        signed = b"\x02" + encode([*fields, *_sign(keccak(b"\x02" + encode(fields)), self.secret)])
        return "0x" + keccak(signed).hex(), "0x" + signed.hex()

    def legacy(self, chain_id, nonce, value=1, gas=21000, price=10**11, to=b"\x22" * 20):
        """One of the oldest kind, protected against replay on other chains."""
        fields = [nonce, price, gas, to, value, b""]
        parity, r, s = _sign(keccak(encode([*fields, chain_id, 0, 0])), self.secret)
        signed = encode([*fields, chain_id * 2 + 35 + parity, r, s])
        return "0x" + keccak(signed).hex(), "0x" + signed.hex()


@lru_cache
def accounts():
    """The funded ones of the short chain, in the order of the file that names their keys."""
    kept = json.loads((DATA / "geth-ethtest" / "accounts.json").read_text())
    made = [Account(int(account["key"], 16)) for account in kept.values()]
    for account, address in zip(made, kept):
        assert "0x" + account.address.hex() == address.lower(), f"the key of {address} is of {account.address.hex()}"
    return made
