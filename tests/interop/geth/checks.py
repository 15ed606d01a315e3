#!/usr/bin/env python3
"""Our node and real geths on loopback, in every role either can have.  After ./install.sh:
    checks.py --bin PATH/TO/trunkline [--quick | --full] [--only TEXT] [--list] [--reference]
One line per check: `ok NAME (figures)` or `FAIL NAME: why`, with what the processes said last.  Exit 1 on a failure.
--quick, the default, leaves out the speed table and makes fewer kills.  --only takes the checks whose name has TEXT.
--reference puts a second geth in our place, where that is possible: it shows that the checks ask what a geth does."""
import argparse, json, os, re, sys, time

sys.dont_write_bytecode = True  # the tree stays as it is
from geth import (DEVP2P, ETH_POOL, ETH_POSSIBLE, LISTEN_LIBP2P, LISTEN_RLPX, LONG, NEW, OLD, SHORT, TESTDATA,
                  Lab, binary, devp2p_tests, eventually, need)
from kills import kills
from roles import feed, serving, wait_whole, was_whole, whole_follower
from runner import run_all
from speed import speed

# Without state geth stops before the pivot, 64 blocks below the head.
PIVOT = SHORT.head - 65
BEHIND_MAX = 2.0


def export(chain, version):
    """Our node fetches a chain from geth over one version of eth; the exported file is the imported one."""
    with Lab() as lab:
        source = lab.geth(OLD if version == 68 else NEW, chain, imported=True)
        copy = lab.home / "copy.rlp"
        # Nothing is said of receipts: a peer that has them is enough.
        node = lab.follower(chain, "--connect", source.enode, "--eth-versions", version, "--export", copy)
        end = was_whole(node, chain)
        up = node.event("peer-up", 1)[1]
        need(up.get("wire") == "rlpx", f"wire {up.get('wire')!r} in {up}")
        need(f"/eth/{version}/1.0.0" in up["protocols"], f"protocols {up['protocols']}")
        need(copy.read_bytes() == chain.raw(), "the exported file is another")
        return f"blocks {end['ms']} ms, receipts {end['receipts_ms']} ms, {end['bytes_in'] / 1e6:.1f} MB in"


def export_600_eth68(): return export(SHORT, 68)
def export_600_eth69(): return export(SHORT, 69)
def export_600_eth70(): return export(SHORT, 70)
def export_20000_eth68(): return export(LONG, 68)
def export_20000_eth69(): return export(LONG, 69)
def export_20000_eth70(): return export(LONG, 70)


def geth_follows(trigger, version=NEW, eth=70, options=()):
    """An empty geth, whose only peer is our node, reaches the head in full mode."""
    with Lab() as lab:
        server = serving(lab, SHORT, version, eth)
        empty = lab.geth(version, SHORT, name="follower", options=options)
        spoken = empty.connect(server.enode)
        need(server.is_reference or spoken == eth, f"eth/{spoken} is spoken")
        start = time.monotonic()
        trigger(empty)
        end = empty.reach(60)
        peers = empty.rpc("admin_peers")
        need(len(peers) == 1, f"{len(peers)} peers at the end")
        return f"{end - start:.2f} s to block {SHORT.head} over eth/{spoken}"


def geth_follows_synctarget():
    return geth_follows(lambda geth: None, options=["--synctarget", SHORT.head_hash])


def geth_follows_debug_sync():
    return geth_follows(lambda geth: geth.rpc("debug_sync", SHORT.head_hash))


def until_valid(geth):
    return eventually("forkchoice VALID", lambda: geth.forkchoice(SHORT.head_hash) == "VALID", 60, every=0.2)


def geth_follows_forkchoice():
    return geth_follows(until_valid)


def geth_follows_over_eth68():
    return geth_follows(until_valid, OLD, 68)


def geth_follows_over_eth69():
    return geth_follows(until_valid, OLD, 69)


def geth_snap():
    """A geth in snap mode takes headers, bodies and receipts from us, as far as it goes without state."""
    with Lab() as lab:
        server = serving(lab, SHORT)
        empty = lab.geth(NEW, SHORT, name="follower", mode="snap")
        empty.connect(server.enode)
        start = time.monotonic()
        empty.forkchoice(SHORT.head_hash)

        def at_pivot():
            syncing = empty.rpc("eth_syncing")
            # A geth in our place has the state too.
            if syncing is False:
                return empty.head()[0] == SHORT.head
            return int(syncing["currentBlock"], 16) >= PIVOT and syncing
        seen = eventually(f"block {PIVOT}", at_pivot, 60)
        took = time.monotonic() - start
        need(seen is True or seen["currentBlock"] == hex(PIVOT), f"eth_syncing says {seen}")
        return f"receipts and blocks up to {PIVOT} in {took:.2f} s"


def relay():
    """geth, ours (RLPx in, libp2p out), ours (libp2p in, RLPx out), geth: one chain."""
    with Lab() as lab:
        first = lab.geth(NEW, SHORT, imported=True, name="first")
        start = time.monotonic()
        inner = lab.node(SHORT, "--connect", first.enode, "--listen", LISTEN_LIBP2P, "--ttl", "300s", name="inner")
        outer = lab.node(SHORT, "--connect", inner.addr(), "--listen", LISTEN_RLPX, "--ttl", "300s", name="outer")
        last = lab.geth(NEW, SHORT, name="last")
        for node in (inner, outer):
            wait_whole(node, SHORT, 60)
        middle = time.monotonic() - start
        last.connect(outer.enode())
        until_valid(last)
        last.reach(60)
        wires = [sorted({event["wire"] for _, event in node.events("peer-up")}) for node in (inner, outer)]
        need(wires == [["libp2p", "rlpx"]] * 2, f"wires {wires}")
        heads = {first.head(), last.head(), *((e["number"], e["hash"]) for node in (inner, outer)
                                             for _, e in node.events("head")[-1:])}
        need(heads == {(SHORT.head, SHORT.head_hash)}, f"heads {heads}")
        return f"four heads equal; {middle:.1f} s to the second node, {time.monotonic() - start:.1f} s to the last"


def growing_head():
    """A geth gets its blocks one by one; our node is never more than 2 s behind it."""
    with Lab() as lab:
        source = lab.geth(NEW, SHORT, name="source")
        node = lab.node(SHORT, "--connect", source.enode, "--ttl", "300s")
        node.event("peer-up", 20)
        # First as fast as geth takes them, then so slowly that each must be found by asking.
        valid = feed(source, 1, 580)
        valid.update(feed(source, 581, 600, pause=0.5))
        wait_whole(node, SHORT, 10)
        heads = node.events("head")
        behind = {}
        for number, at in valid.items():
            seen = next(when for when, event in heads if event["number"] >= number)
            behind[number] = max(0.0, seen - at)
        worst = max(behind, key=behind.get)
        slow = [behind[number] for number in range(581, 601)]
        figures = (f"at most {behind[worst]:.2f} s behind, at block {worst}; "
                   f"one every 0.5 s: mean {sum(slow) / len(slow):.2f} s, at most {max(slow):.2f} s")
        need(behind[worst] <= BEHIND_MAX, figures)
        need(heads[-1][1]["hash"] == SHORT.head_hash, f"head {heads[-1]}")
        return figures


def eth_test(eth=70):
    """geth's own test of an eth server: the 13 cases that need no transaction pool."""
    with Lab() as lab:
        server = serving(lab, SHORT, eth=eth)
        reference = server.is_reference
        engine = [server.process.authrpc, server.process.secret] if reference else ["http://127.0.0.1:1", "0x00"]
        wanted = ETH_POSSIBLE + (ETH_POOL if reference else [])
        passed, failed, output = devp2p_tests(
            ["rlpx", "eth-test", "--tap", "--run", f"^({'|'.join(wanted)})$", "--chain", TESTDATA,
             "--node", server.enode, "--engineapi", engine[0], "--jwtsecret", engine[1]], 120)
        absent = set(wanted) - set(passed) - set(failed)
        need(not failed and not absent, f"passed {passed}, failed {failed}, not run {absent}\n{output[-3000:]}")
        rest = "" if reference else f"; without a transaction pool not run: {', '.join(ETH_POOL)}"
        return f"{len(passed)}/{len(wanted)}{rest}"


def eth_test_over_eth69():
    return eth_test(69)


def discovering(lab):
    """Somebody who answers discv4 and discv5 on one UDP port. Its enode and ENR."""
    if Lab.trunkline is None:
        info = lab.geth(NEW, SHORT, discovery=True).rpc("admin_nodeInfo")
        return info["enode"], info["enr"]
    node = lab.node(SHORT, "--discovery", "/ip4/127.0.0.1/udp/0", "--listen", LISTEN_RLPX, "--ttl", "120s")
    event = node.event("discovery", 20)[1]
    return event["enode"], event["enr"]


def discovery_tests(count, *arguments):
    passed, failed, output = devp2p_tests(arguments, 90)
    need(not failed and len(passed) == count, f"{len(passed)} of {count} passed, failed {failed}\n{output[-3000:]}")
    return f"{count}/{count}"


def discv4_test():
    """geth's test of discv4, all 15 cases."""
    with Lab() as lab:
        return discovery_tests(15, "discv4", "test", "--tap", "--remote", discovering(lab)[0],
                               "--listen1", "127.0.0.1", "--listen2", "127.0.0.2")


def discv5_test():
    """geth's test of discv5, all 7 cases."""
    with Lab() as lab:
        return discovery_tests(7, "discv5", "test", "--tap", "--listen1", "127.0.0.1", "--listen2", "127.0.0.2",
                               discovering(lab)[1])


def crawl():
    """`trunkline discover` finds a geth through another, over discv4 and discv5."""
    with Lab() as lab:
        boot = lab.geth(NEW, SHORT, discovery=True, name="bootnode")
        info = boot.rpc("admin_nodeInfo")
        other = lab.geth(NEW, SHORT, discovery=True, name="other", options=["--bootnodes", info["enode"]])
        eventually("the other geth found the bootnode", lambda: other.rpc("net_peerCount") != "0x0", 60)
        figures = []
        for option, address in (("--v4", info["enode"]), ("--v5", info["enr"])):
            done = lab.trunkline_run("discover", "--bootnode", address, option, "--timeout", "6s", "--json")
            need(done.returncode == 0, f"exit {done.returncode}: {done.stderr[-500:]}")
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            found = {line["id"]: line for line in lines if line["event"] == "node"}
            for geth in (boot, other):
                identity = re.search(r"//([0-9a-f]+)@", geth.enode).group(1)
                node = found.get(identity)
                need(node and node["last_seen"], f"{option}: {geth.name} is not among what answered: {lines}")
                need(node["eth"] and node["tcp"] == geth.port, f"{option}: {geth.name} is told as {node}")
            figures.append(f"{option}: {len(found)} found, {lines[-1]['answered']} answered")
        nobody = lab.trunkline_run("discover", "--bootnode", re.sub(r":\d+", ":1", info["enode"]), "--timeout", "2s")
        need(nobody.returncode == 1 and nobody.stderr.strip(), f"nobody there: exit {nobody.returncode}")
        return "; ".join(figures)


def found_and_synced():
    """Nobody is told of a peer: our node finds a geth through discovery and syncs, then another geth finds ours."""
    with Lab() as lab:
        boot = lab.geth(NEW, SHORT, imported=True, discovery=True, name="bootnode")
        start = time.monotonic()
        node = lab.node(SHORT, "--discovery", "/ip4/127.0.0.1/udp/0", "--bootnode", boot.rpc("admin_nodeInfo")["enode"],
                        "--listen", LISTEN_RLPX, "--ttl", "120s")
        found = node.at_head(SHORT.head, 60) - start
        boot.stop()
        enode = node.event("discovery", 5)[1]["enode"]
        start = time.monotonic()
        other = lab.geth(NEW, SHORT, discovery=True, name="other", options=["--bootnodes", enode])
        eventually("the other geth found our node", lambda: len(other.rpc("admin_peers")) == 1, 60)
        return f"we found it and had its chain in {found:.1f} s, were found in {time.monotonic() - start:.1f} s"


def ping():
    """`trunkline ping enode://..` prints Hello, capabilities, Status and round trips; refusals are told apart."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        done = lab.trunkline_run("ping", geth.enode, "--count", 3)
        need(done.returncode == 0, f"exit {done.returncode}: {done.stderr}")
        for word in ("Geth/v1.17.5", "rlpx", "/eth/70/1.0.0", "377aaa78", "600", "median"):
            need(word in done.stdout, f"no {word!r} in\n{done.stdout}")
        lines = lab.trunkline_run("ping", geth.enode, "--count", 3, "--json")
        need(lines.returncode == 0, f"--json: exit {lines.returncode}: {lines.stderr}")
        times = [json.loads(line) for line in lines.stdout.splitlines()]
        other = re.search(r"//([0-9a-f]+)@", lab.geth(NEW, SHORT).enode).group(1)
        wrong = re.sub(r"//[0-9a-f]+@", f"//{other}@", geth.enode)
        junk = re.sub(r"//[0-9a-f]+@", f"//{'00' * 64}@", geth.enode)
        geth.stop()
        refused = lab.trunkline_run("ping", geth.enode)
        need(refused.returncode == 1 and "refused" in refused.stderr, f"exit {refused.returncode}: {refused.stderr}")
        lab.again(geth, NEW)
        identity = lab.trunkline_run("ping", wrong)
        need(identity.returncode == 1 and identity.stderr.strip(), f"wrong identity: exit {identity.returncode}")
        for address in (junk, "enode://79be@127.0.0.1:30303"):
            unusable = lab.trunkline_run("ping", address)
            need(unusable.returncode == 2, f"{address[:30]}..: exit {unusable.returncode}: {unusable.stderr}")
        need(len(times) == 5, f"lines {times}")
        return "told: who, Status, round trips; refused; wrong identity; unusable address"


def refusals():
    """Why a geth does not want us is told, and our node goes on trying."""
    with Lab() as lab:
        full = lab.geth(NEW, SHORT, name="full", options=["--maxpeers", 1])
        newer = lab.geth(NEW, SHORT, name="newer")
        node = lab.node(SHORT, "--connect", full.enode, "--ttl", "60s")
        old = lab.node(SHORT, "--connect", newer.enode, "--eth-versions", 68, "--ttl", "60s", name="old")
        for refused, word in ((node, "too many peers"), (old, "no protocol in common")):
            at = refused.event("error", 10, lambda event: word in event["error"])[0]
            refused.event("error", 10, lambda event: word in event["error"], after=at + 0.001)
        other = lab.geth(NEW, LONG, name="other-chain")
        node = lab.node(SHORT, "--connect", other.enode, "--ttl", "60s")
        event = node.event("peer-down", 10)[1]
        need(re.search("network|genesis|fork", event["reason"]), f"another chain is told as {event}")
        return f"too many peers; no protocol in common; another chain: {event['side']}: {event['reason']}"


def kills_of_either_side(full):
    return kills(50 if full else 8)


CHECKS = [ping, refusals, export_600_eth68, export_600_eth69, export_600_eth70, geth_follows_synctarget,
          geth_follows_debug_sync, geth_follows_forkchoice, geth_follows_over_eth68, geth_follows_over_eth69, geth_snap,
          relay, eth_test, eth_test_over_eth69, discv4_test, discv5_test, crawl, found_and_synced, growing_head,
          export_20000_eth68, export_20000_eth69, export_20000_eth70, kills_of_either_side, speed]
REFERENCE = [geth_follows_synctarget, geth_follows_debug_sync, geth_follows_forkchoice, geth_snap, eth_test,
             discv4_test, discv5_test]
LONG_ONES = [refusals, export_20000_eth68, export_20000_eth69, export_20000_eth70, kills_of_either_side, speed]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin", metavar="PATH")
    for name in ("--quick", "--full", "--list", "--reference"):
        options.add_argument(name, action="store_true")
    options.add_argument("--only", metavar="TEXT", default="")
    given = options.parse_args()
    checks = [check for check in (REFERENCE if given.reference else CHECKS) if given.only in check.__name__]
    if not (given.full or given.only or given.list):
        checks = [check for check in checks if check is not speed]
    if given.list:
        for check in checks:
            print(check.__name__)
        return 0
    missing = [path for path in (binary(OLD), binary(NEW), DEVP2P, SHORT.blocks) if not path.exists()]
    if missing:
        print(f"SKIPPED: the checks against geth, for there is no {missing[0]} (run install.sh)")
        return 0
    if not given.reference:
        if not given.bin or not os.access(given.bin, os.X_OK):
            options.error("--bin: the trunkline executable is needed")
        Lab.trunkline = given.bin
    if not LONG.there():
        print(f"SKIPPED: what needs 20,000 blocks, for there is no {LONG.blocks}")
        checks = [check for check in checks if check not in LONG_ONES]
    return run_all(checks, given.full)


if __name__ == "__main__":
    sys.exit(main())
