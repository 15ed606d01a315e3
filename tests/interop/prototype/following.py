"""After the head: heads that grow and change, on geth's chain and between producers; transactions both ways."""
import re, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import building, transactions
from geth import ETH_POOL, ETH_POSSIBLE, NEW, SHORT, TESTDATA, devp2p_tests, eventually, need
from prototype import BOTH_WIRES, Lab, copied
from roles import feed

BEHIND_MAX = 2.0
# geth itself goes back by at most 32 blocks.
DEPTH_MAX = 30


def growing_head():
    """A geth gets its blocks one by one; the prototype has executed each at most 2 s later."""
    with Lab() as lab:
        source = lab.geth(NEW, SHORT, name="source")
        node = lab.following(SHORT, [source.enode])
        node.event("peer-up", 20)
        # First as fast as geth takes them, then so slowly that each must be found by asking.
        valid = feed(source, 1, 580)
        valid.update(feed(source, 581, 600, pause=0.5))
        node.at_head(SHORT.head, 20)
        heads = node.events("head")
        behind = {}
        for number, at in valid.items():
            seen = next(when for when, event in heads if event["number"] >= number)
            behind[number] = max(0.0, seen - at)
        node.true_to(SHORT)
        worst = max(behind, key=behind.get)
        slow = [behind[number] for number in range(581, 601)]
        figures = (f"at most {behind[worst]:.2f} s behind, at block {worst}; "
                   f"one every 0.5 s: mean {sum(slow) / len(slow):.2f} s, at most {max(slow):.2f} s")
        need(behind[worst] <= BEHIND_MAX, figures)
        return figures


def is_head(node, wanted, secs, after=0.0):
    """Waits until its executed head is that block, root included."""
    number, its_hash, root = wanted
    return node.event("head", secs, lambda event: (event["number"], event["hash"], event["root"]) == wanted, after)[0]


def reorgs():
    """geth builds longer branches from 1, 5 and 30 blocks below its head: each time the prototype ends on geth's."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        geth.forkchoice(SHORT.head_hash, finalized=building.ZERO)
        node = lab.following(SHORT, [geth.enode], name="node")
        second = lab.following(SHORT, [node.addr()], name="second")
        is_head(node, building.head(geth), 60)
        building.extend(geth, SHORT.head_hash, 2)
        times = []
        for depth, branch in ((1, 2), (5, 3), (DEPTH_MAX, 4)):
            old = building.head(geth)
            is_head(node, old, 10)
            common = building.head(geth, old[0] - depth)
            start = time.monotonic()
            building.extend(geth, common[1], depth + 2, recipient=branch)
            built, wanted = time.monotonic(), building.head(geth)
            need(wanted[0] == old[0] + 2, f"geth is at {wanted}")
            seen = max(is_head(one, wanted, 20) for one in (node, second))
            times.append(max(0.0, seen - built))
            told = node.event("reorg", 1, lambda event: event["to"], after=start)[1]
            need(names(told["common"], *common[:2]), f"{told}; common is {common}")
        for one in (node, second):
            need(not one.events("bad-block"), f"{one.name}: {one.events('bad-block')}")
            one.stop()
            one.keeps_the_contract()
        return "behind by " + ", ".join(f"{seconds:.2f} s" for seconds in times) + " after 1, 5 and 30 blocks"


def names(told, number, its_hash):
    """Whether what an event says of a block, be it a number, a hash or both, is this one."""
    parts = told.values() if isinstance(told, dict) else [told]
    return number in parts or its_hash in parts


def producers():
    """Two producers of the development chain apart from each other; who followed the one changes to the longer."""
    def producing(name, every):
        return lab.prototype("dev", "--produce", every, "--ttl", "120s", *BOTH_WIRES, name=name)

    def ended(node):
        need(node.stop() == 0, f"{node.name} did not end with 0")
        node.keeps_the_contract()
        return node.event("end", 1)[1]

    with Lab() as lab:
        first = producing("a", "200ms")
        first.at_head(4, 20)
        common = ended(first)
        (copied(lab.store("a"), "b.store") / "key").unlink()  # the same blocks by another producer
        first = producing("a", "200ms")
        other = producing("b", "100ms")
        follower = lab.following("dev", [first.addr()], name="c")
        followed = follower.at_head(common["number"] + 6, 30)
        after_first = ended(first)
        other.at_head(after_first["number"] + 4, 30)
        longer = ended(other)
        last = follower.last("head")
        need(last["number"] <= longer["number"] - 3, f"the branch {longer} is not longer than {last}")
        start = time.monotonic()
        served = lab.following("dev", [follower.addr()], name="b")
        wanted = (longer["number"], longer["hash"], longer["root"])
        took = is_head(follower, wanted, 20) - start
        told = follower.event("reorg", 1)[1]
        need(names(told["common"], common["number"], common["hash"]), f"{told}, {common}")
        # Who made the shorter branch comes back and follows too.
        back = lab.following("dev", [follower.addr()], name="a")
        is_head(back, wanted, 20)
        for node in (served, follower, back):
            need(ended(node)["hash"] == longer["hash"], f"{node.name} left the head")
        return (f"{after_first['number'] - common['number']} blocks against {longer['number'] - common['number']}; "
                f"changed after {took:.2f} s, {followed - follower.started:.1f} s to follow")


def pool_holds(node, count, secs):
    """Waits until that many transactions are ready in its pool."""
    return node.event("pool", secs, lambda event: event["pending"] == count)[0]


def transfers():
    """A file's transactions reach another prototype and geth; geth's reach both; their block empties the pools."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        # Until it is told a head, geth drops transactions.
        geth.forkchoice(SHORT.head_hash, finalized=building.ZERO)
        payer, other, poor = transactions.accounts()[0], transactions.accounts()[1], transactions.Account(7)
        mine = [payer.transfer(SHORT.network, 0), payer.legacy(SHORT.network, 1)]
        bad = [poor.transfer(SHORT.network, 0), payer.transfer(SHORT.network + 1, 2),
               payer.transfer(SHORT.network, 2, gas=20000)]
        file = lab.home / "signed.txs"
        file.write_text("".join(f"{raw}\n" for _, raw in mine))
        # Whoever is syncing does not care for transactions, so the second, which knows no geth, has synced before.
        lab.syncing(SHORT, [geth.enode], name="b").reached(SHORT)
        second = lab.following(SHORT, [], name="b")
        node = lab.following(SHORT, [geth.enode, second.addr()], "--tx-file", file, name="a")
        for one in (node, second):
            pool_holds(one, 2, 60)
        for its_hash, _ in mine:
            eventually("geth has a transaction of the file", lambda h=its_hash: geth.rpc("eth_getTransactionByHash", h), 10)
        theirs = [other.transfer(SHORT.network, 0), other.transfer(SHORT.network, 1)]
        start = time.monotonic()
        for _, raw in theirs:
            geth.rpc("eth_sendRawTransaction", raw)
        took = max(pool_holds(one, 4, 20) for one in (node, second)) - start
        _, packed = building.extend(geth, SHORT.head_hash, 1)
        need(packed == 4, f"{packed} of 4 transactions in geth's block")
        for one in (node, second):
            is_head(one, building.head(geth), 20)
            pool_holds(one, 0, 5)
        # A file with nothing good in it: told, and no reason to end.
        file.write_text("".join(f"{raw}\n" for _, raw in bad))
        third = lab.following(SHORT, [geth.enode], "--tx-file", file, name="c")
        is_head(third, building.head(geth), 60)
        eventually("errors about transactions that are not valid", lambda: len(third.events("error")) >= len(bad), 10)
        need(third.running(), f"ended with {third.child.returncode}")
        for one in (node, second, third):
            need(one.stop() == 0, f"{one.name}: exit {one.child.returncode}")
            one.keeps_the_contract()
        refused = [event["error"] for _, event in third.events("error")]
        return f"geth's were in both pools after {took:.2f} s; refused: {refused}"


class Engine:
    """Answers whatever it is asked with an empty object: enough of an engine API for the tool's tests."""

    class _Empty(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    def __enter__(self):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._Empty)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def eth_test():
    """geth's own test of an eth peer, all 20 cases, against a prototype that executed everything and has no peer left."""
    wanted = ETH_POSSIBLE + ETH_POOL
    with Lab() as lab, Engine() as engine:
        source = lab.geth(NEW, SHORT, imported=True, name="source")
        # The tool takes a question about the head for a wrong answer; one with a trusted head asks none.
        node = lab.prototype(SHORT, "--bootnode", source.enode, "--head", SHORT.head_hash, *BOTH_WIRES, "--ttl", "300s")
        node.at_head(SHORT.head, 60)
        source.stop()
        node.event("peer-down", 5)
        passed, failed, output = devp2p_tests(
            ["rlpx", "eth-test", "--tap", "--run", f"^({'|'.join(wanted)})$", "--chain", TESTDATA,
             "--node", node.enode(), "--engineapi", engine, "--jwtsecret", "0x" + "11" * 32], 150)
        absent = [name for name in wanted if name not in passed + failed]
        said = "\n".join(f"-- {name}: {why_not(output, name)}" for name in failed)
        need(not failed and not absent, f"{len(passed)}/{len(wanted)} passed; failed {failed}; not run {absent}\n{said}")
        need(node.running(), "it ended")
        node.keeps_the_contract()
        return f"{len(passed)}/{len(wanted)}"


def why_not(output, name):
    """What the tool wrote about a case."""
    found = re.search(rf"^not ok \d+ {re.escape(name)}\b.*\n((?:#.*\n|\s+.*\n)*)", output, re.MULTILINE)
    return found.group(1).strip()[:1200] if found else output[-1200:]


