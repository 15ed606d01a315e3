"""Whom it can sync from: geth, `trunkline node`, another prototype; and who cannot mislead it."""
import re, socket, threading
from dataclasses import replace
from chains import (BLOOM, GAS_USED, RECEIPTS_ROOT, REQUESTS, STATE_ROOT, another_bloom, another_hash, block, one_less,
                    state_root, with_a_lie)
from geth import LONG, NEW, SHORT, need
from prototype import BOTH_WIRES, Lab, rates

MEMORY_MAX_MIB = 300


def from_geth(chain):
    """From a real geth over RLPx; what is told on the way is what geth says of the same blocks."""
    with Lab() as lab:
        geth = lab.geth(NEW, chain, imported=True)
        node = lab.syncing(chain, [geth.enode])
        end = node.reached(chain, 200)
        up = node.event("peer-up", 1)[1]
        need(up["wire"] == "rlpx", f"wire {up['wire']!r}")
        heads = [event for _, event in node.events("head")]
        for event in [*heads, end]:
            said = geth.rpc("eth_getBlockByNumber", hex(event["number"]), False)
            need((said["hash"], said["stateRoot"]) == (event["hash"], event["root"]), f"geth has {said}, not {event}")
        need(end["root"] == state_root(chain), f"root {end['root']}")
        fetched = end["fetched"]
        need(fetched["headers"] >= chain.head and fetched["bodies"] <= chain.head, f"fetched {fetched}")
        need(1 < node.peak_mib() < MEMORY_MAX_MIB, f"{node.peak_mib():.0f} MiB at the most")
        return (f"{end['ms']} ms, {len(heads)} heads compared; {rates(end)}; {end['bytes_in'] / 1e6:.1f} MB in; "
                f"at most {node.peak_mib():.0f} MiB of memory")


def geth_600(): return from_geth(SHORT)
def geth_20000(): return from_geth(LONG)


def from_trunkline(chain):
    """From `trunkline node` over libp2p, which has no receipts."""
    with Lab() as lab:
        server = lab.importing(chain)
        node = lab.syncing(chain, [server.addr(60)])
        end = node.reached(chain, 200)
        wires = {event["wire"] for _, event in node.events("peer-up")}
        need(wires == {"libp2p"}, f"wires {wires}")
        return f"{end['ms']} ms, {node.true_to(chain)} heads compared; {rates(end)}; {node.peak_mib():.0f} MiB"


def trunkline_600(): return from_trunkline(SHORT)
def trunkline_20000(): return from_trunkline(LONG)


def receipts_options():
    """`--receipts`: `required` never ends with a peer that has none, `none` asks nobody for them."""
    with Lab() as lab:
        server = lab.importing(SHORT)
        wanting = lab.prototype(SHORT, "--bootnode", server.addr(), "--head", SHORT.head_hash, "--until-block", SHORT.head,
                                "--receipts", "required", "--timeout", "4s")
        code = wanting.exit_code(20)
        wanting.keeps_the_contract()
        need(code == 1 and len(wanting.complaints()) == 1, f"required: exit {code}: {wanting.complaints()}")
        geth = lab.geth(NEW, SHORT, imported=True)
        frugal = lab.syncing(SHORT, [geth.enode], "--receipts", "none").reached(SHORT)
        need(frugal["fetched"]["receipts"] == 0, f"none: fetched {frugal['fetched']}")
        full = lab.syncing(SHORT, [geth.enode], "--receipts", "required").reached(SHORT)
        need(full["fetched"]["receipts"] > 0, f"required: fetched {full['fetched']}")
        return f"required alone: {wanting.complaints()[0]!r}; bytes in {frugal['bytes_in']:,} / {full['bytes_in']:,}"


def from_each_other():
    """geth, a first prototype; a second from the first alone; a third from both: one root."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        first = lab.following(SHORT, [geth.enode], name="first")
        first.at_head(SHORT.head, 60)
        second = lab.syncing(SHORT, [first.addr()], name="second")
        third = lab.syncing(SHORT, [first.enode(), geth.enode], name="third")
        ends = [node.reached(SHORT) for node in (second, third)]
        need({event["wire"] for _, event in second.events("peer-up")} == {"libp2p"}, "the second used another wire")
        need(len(third.events("peer-up")) == 2, f"the third met {third.events('peer-up')}")
        geth.stop()
        fourth = lab.syncing(SHORT, [first.enode()], "--receipts", "required", name="fourth")
        ends.append(fourth.reached(SHORT))
        code = first.stop()
        need(code == 0, f"the first ended with {code} after a signal")
        first.keeps_the_contract()
        roots = {end["root"] for end in [*ends, first.event("end", 1)[1]]}
        need(roots == {state_root(SHORT)}, f"roots {roots}")
        return "; ".join(f"{end['ms']} ms" for end in ends)


# What is wrong in the header, the field, how it is changed, and a word that must name it.
LIES = [("state-root", STATE_ROOT, another_hash, "state"), ("receipts-root", RECEIPTS_ROOT, another_hash, "receipt"),
        ("logs-bloom", BLOOM, another_bloom, "bloom"), ("gas-used", GAS_USED, one_less, "gas"),
        ("requests-hash", REQUESTS, another_hash, "request")]


def lies_in_headers():
    """A linked chain of which one block does not execute to what it says: named, not passed, blamed; then on with geth."""
    told = []
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        for name, field, lie, word in LIES:
            bad = with_a_lie(SHORT, lab.home, name, 27, 40, field, lie)
            server = lab.importing(bad, name=f"liar-{name}")
            node = lab.prototype(bad, "--bootnode", server.addr(), "--follow", "--until-block", 40, "--timeout", "5s",
                                 name=name, store=lab.store(name))
            named = node.event("bad-block", 10)[1]
            need(named["number"] == 27 and named["hash"] == block(bad, 27)[0], f"{name}: {named}")
            need(word in named["what"] and named["why"], f"{name}: {named}")
            need(named["blamed"] is True, f"{name}: nobody blamed in {named}")
            code = node.exit_code(20)
            node.keeps_the_contract()
            end = node.event("end", 1)[1]
            need(code == 1 and end["number"] == 26 and end["root"] == block(SHORT, 26)[1], f"{name}: exit {code}, {end}")
            need(node.events("peer-down"), f"{name}: the liar was kept")
            again = lab.syncing(SHORT, [server.addr(), geth.enode], name=f"{name}-again", store=lab.store(name))
            need(again.opened()["number"] == 26, f"{name}: opened {again.opened()}")
            again.reached(SHORT)
            server.stop()
            told.append(named["why"])
    return "; ".join(told)


def a_liar_beside_geth():
    """A liar with a chain as long as geth's, present from the start; the head is trusted or the highest announced."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        bad = with_a_lie(SHORT, lab.home, "long-lie", 300, SHORT.head, STATE_ROOT, another_hash)
        longer = lab.importing(bad, name="liar")
        shorter = lab.importing(with_a_lie(SHORT, lab.home, "short-lie", 20, 40, STATE_ROOT, another_hash), name="short-liar")
        figures = []
        for name, options in (("trusted", ["--head", SHORT.head_hash]), ("announced", ["--follow"])):
            node = lab.prototype(SHORT, "--bootnode", longer.addr(), "--bootnode", shorter.addr(), "--bootnode", geth.enode,
                                 *options, "--until-block", SHORT.head, "--timeout", "60s", name=name)
            end = node.reached(SHORT, 90)
            bad_blocks = [(event["number"], event["what"]) for _, event in node.events("bad-block")]
            need(set(bad_blocks) <= {(300, "state-root"), (20, "state-root")}, f"{name}: bad blocks {bad_blocks}")
            figures.append(f"{name}: {end['ms']} ms, bad blocks {bad_blocks}")
        return "; ".join(figures)


class BlackHole:
    """Takes connections and says nothing."""

    def __enter__(self):
        self.listener, self.taken = socket.create_server(("127.0.0.1", 0)), []
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def _take(self):
        try:
            while True:
                self.taken.append(self.listener.accept()[0])
        except OSError:
            pass  # closed

    def port(self):
        return self.listener.getsockname()[1]

    def __exit__(self, *_):
        for one in [self.listener, *self.taken]:
            one.close()


def bad_company():
    """geth among a black hole on each wire, another chain and a liar: done, and each of the others is named."""
    with Lab() as lab, BlackHole() as hole:
        geth = lab.geth(NEW, SHORT, imported=True)
        liar = lab.importing(with_a_lie(SHORT, lab.home, "lie", 20, 40, STATE_ROOT, another_hash), name="liar")
        stranger = lab.node(replace(SHORT, genesis="dev"), *BOTH_WIRES, "--ttl", "300s", name="stranger")
        silent = [re.sub(r":\d+\?.*$|:\d+$", f":{hole.port()}", geth.enode), f"/ip4/127.0.0.1/tcp/{hole.port()}"]
        silent[0] = re.sub(r"//[0-9a-f]+@", f"//{other_key(lab)}@", silent[0])
        node = lab.following(SHORT, [*silent, stranger.addr(60), liar.addr(), geth.enode])
        at = node.at_head(SHORT.head, 60) - node.started
        need(len(hole.taken) >= 2, f"{len(hole.taken)} dials to the black hole")
        other = node.event("peer-down", 10, lambda event: re.search("network|genesis|fork", event["reason"]))[1]
        for peer in silent:
            node.event("error", 30, lambda event: str(hole.port()) in event["error"])
        code = node.stop()
        node.keeps_the_contract()
        need(code == 0, f"exit {code}")
        node.true_to(SHORT)
        reasons = sorted({f"{event['side']}: {event['reason']}" for _, event in node.events("peer-down")})
        return f"{at:.1f} s; another chain: {other['reason']!r}; all: {reasons}"


def other_key(lab):
    """The public half of a key of nobody."""
    shown = lab.trunkline_run("key", "show", lab.key("nobody")).stdout
    return re.search(r"[0-9a-f]{128}", shown).group(0)
