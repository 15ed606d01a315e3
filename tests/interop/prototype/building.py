"""Geth as a block builder, by its engine API: more blocks than the files have, and branches of them."""
import time
from geth import need

ZERO = "0x" + "00" * 32


def _engine(geth, method, *params):
    return geth.engine({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})


def _forkchoice(geth, head, attributes=None):
    state = {"headBlockHash": head, "safeBlockHash": ZERO, "finalizedBlockHash": ZERO}
    answer = _engine(geth, "engine_forkchoiceUpdatedV3", state, attributes)
    need(answer["payloadStatus"]["status"] == "VALID", f"forkchoice {head}: {answer}")
    return answer["payloadId"]


def head(geth, number="latest"):
    """Number, hash and state root of a block that geth has."""
    seen = geth.rpc("eth_getBlockByNumber", number if isinstance(number, str) else hex(number), False)
    return int(seen["number"], 16), seen["hash"], seen["stateRoot"]


def build(geth, parent, recipient, gather=0.3):
    """A block on that parent with what geth's pool has, not yet the head. Its hash, how many transactions it has."""
    above = geth.rpc("eth_getBlockByHash", parent, False)
    attributes = {"timestamp": hex(int(above["timestamp"], 16) + 10), "prevRandao": ZERO, "withdrawals": [],
                  "suggestedFeeRecipient": "0x" + f"{recipient:02x}" * 20, "parentBeaconBlockRoot": ZERO}
    payload_id = _forkchoice(geth, parent, attributes)
    time.sleep(gather)  # geth fills the block in the background and does not say when it is content
    built = _engine(geth, "engine_getPayloadV4", payload_id)
    payload = built["executionPayload"]
    status = _engine(geth, "engine_newPayloadV4", payload, [], ZERO, built["executionRequests"])
    need(status["status"] == "VALID", f"a payload of its own is {status}")
    return payload["blockHash"], len(payload["transactions"])


def extend(geth, parent, count, recipient=1):
    """That many blocks on a parent, the last of which becomes the head. Its hash, how many transactions they have."""
    transactions = 0
    for _ in range(count):
        parent, packed = build(geth, parent, recipient)
        transactions += packed
    _forkchoice(geth, parent)
    return parent, transactions
