"""Roles that several checks share: who serves, who follows, whose head grows."""
import base64, json, time
from dataclasses import dataclass
from geth import LISTEN_RLPX, NEW, TESTDATA, Geth, Lab, Process, need


@dataclass
class Serving:
    """A node that has the whole chain with receipts, and no peer."""
    process: Process
    enode: str

    @property
    def is_reference(self):
        return isinstance(self.process, Geth)


def serving(lab, chain, version=NEW, eth=70):
    """Our node, which got everything from a geth that is gone; or a geth in its place."""
    if Lab.trunkline is None:
        geth = lab.geth(version, chain, imported=True, name="server")
        return Serving(geth, geth.enode)
    source = lab.geth(version, chain, imported=True, name="source")
    # Without being told, both sides take the highest version that they share.
    only = [] if eth == 70 else ["--eth-versions", eth]
    node = lab.node(chain, "--connect", source.enode, "--listen", LISTEN_RLPX, "--ttl", "900s", *only, name="server")
    wait_whole(node, chain, 120)
    protocols = node.event("peer-up", 1)[1]["protocols"]
    need(protocols[0] == f"/eth/{eth}/1.0.0", f"protocols {protocols}")
    source.stop()
    node.event("peer-down", 5)
    return Serving(node, node.enode())


def wait_whole(node, chain, secs):
    """Waits until our node has the chain's blocks and receipts."""
    node.at_head(chain.head, secs)
    node.event("progress", secs, lambda event: event.get("receipts") == chain.head)


def whole_follower(lab, chain, address, *options, **more):
    """Our node that ends when it has all blocks and receipts of the chain."""
    return lab.follower(chain, "--receipts", "required", "--connect", address, *options, **more)


def was_whole(node, chain):
    """Waits for the end of such a node. Its `end` event, which tells that nothing is missing."""
    end = node.reach_and_end(200)
    need((end["number"], end["hash"]) == (chain.head, chain.head_hash), f"{node.name} ended with {end}")
    need(end["receipts"] == {"held": chain.head, "missing": 0}, f"{node.name}: receipts {end['receipts']}")
    need(end["orphans"] == 0, f"{node.name}: orphans in {end}")
    return end


def payloads():
    """The engine requests that make the short chain, by block number."""
    requests = json.loads((TESTDATA / "newpayload.json").read_text())
    for request in requests:
        parameters = request["params"]
        # One item is in base64 where geth wants hex.
        if len(parameters) > 3 and parameters[3]:
            parameters[3] = [item if item.startswith("0x") else "0x" + base64.b64decode(item).hex()
                             for item in parameters[3]]
    return requests


def feed(geth, first, last, pause=0.0):
    """Makes the geth's head grow block by block. When it said VALID to each."""
    valid = {}
    for number, request in enumerate(payloads()):
        if not first <= number <= last:
            continue
        status = geth.engine(request)["status"]
        need(status == "VALID", f"newPayload of block {number}: {status}")
        status = geth.forkchoice(request["params"][0]["blockHash"], finalized="0x" + "00" * 32)
        need(status == "VALID", f"forkchoice of block {number}: {status}")
        valid[number] = time.monotonic()
        time.sleep(pause)
    return valid
