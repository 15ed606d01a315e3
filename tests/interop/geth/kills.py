"""kill -9 of either side at random points of a sync: the survivor says why, reconnects and completes."""
import os, random, re, time
from dataclasses import dataclass
from geth import LISTEN_RLPX, LONG, NEW, SHORT, Lab, need
from roles import serving, wait_whole, was_whole, whole_follower

SAYS_WITHIN = 1.0
# Raises one package's log so far that geth says why a peer went.
GETH_SAYS = ["--log.vmodule", "p2p/*=4"]
# A follower in geth's default schemes would start at block 0 again; a server that imported keeps what it has.
GETH_KEEPS = {"scheme": "hash", "mode": "full"}
GETH_ARCHIVE = ["--gcmode", "archive"]


@dataclass
class Kill:
    """What the survivor of one kill said, and how long it took."""
    at: float
    said_after: float
    reason: str
    whole_after: float = 0.0

    def whole(self, at):
        self.whole_after = at - self.at
        return self


def reason_of_node(node, since):
    """When and why our node says that its peer went."""
    at, event = node.event("peer-down", 5, after=since)
    need(event.get("reason") and event.get("side"), f"no reason in {event}")
    return at, f"{event['side']}: {event['reason']}"


def reason_of_geth(geth, since):
    at, match = geth.logged(r"Removing p2p peer.* err=(.*)$", 5, after=since)
    return at, re.sub(r"^(\w+) tcp \S+ \1: ", "", match.group(1).strip('"'))


def kill(victim, since, reason):
    """Kills it and asks the survivor. Nothing if their sync was over after all, and one of them left by itself."""
    killed_at = victim.kill()
    at, why = reason(since)
    return None if at < killed_at or why.startswith("local") else Kill(killed_at, at - killed_at, why)


class Pairs:
    """A server that stays for many kills of its followers, or the other way round."""

    def __init__(self, lab, seed):
        self.lab, self.random = lab, random.Random(seed)
        self.long_span = self.short_span = None

    def follower_of(self, enode, *options):
        return whole_follower(self.lab, LONG, enode, *options)

    def measure(self, enode):
        """How long a whole sync takes."""
        node = self.follower_of(enode)
        node.event("peer-up", 30)
        self.undisturbed(node)

    def undisturbed(self, node):
        """Learns from an undisturbed follower how long a sync takes here and now."""
        was_whole(node, LONG)
        self.long_span = (node.event("end", 1)[0] - node.event("peer-up", 1)[0]) * 0.95

    def in_the_middle(self, node):
        """Sleeps until a random point of the sync that has just begun. That time, if it is still going on."""
        at, _ = node.event("peer-up", 30)
        time.sleep(max(0.0, at + self.random.uniform(0.0, self.long_span) - time.monotonic()))
        now = time.monotonic()
        if node.running() and not node.events("peer-down"):
            return now
        self.undisturbed(node)
        return None

    def our_follower_dies(self, server_enode, reason):
        """`reason` asks the server, which survives."""
        key = self.lab.key(f"follower-{len(self.lab.processes)}")
        victim = self.follower_of(server_enode, "--key", key)
        now = self.in_the_middle(victim)
        done = now and kill(victim, now, reason)
        if done:
            again = self.follower_of(server_enode, "--key", key)
            was_whole(again, LONG)
            done.whole(again.event("end", 1)[0])
        return done

    def geth_serving_dies(self, geth):
        """Our follower survives. The next geth, and the kill."""
        survivor = self.follower_of(geth.enode)
        now = self.in_the_middle(survivor)
        if not now:
            return geth, None
        done = kill(geth, now, lambda since: reason_of_node(survivor, since))
        geth = self.lab.again(geth, NEW, options=GETH_SAYS)
        return geth, self.completes(survivor, done)

    def our_server_dies(self, source_enode):
        """Our follower of our node survives; the server is filled from geth again on the same port."""
        key = self.lab.key(f"server-{len(self.lab.processes)}")

        def start(listen):
            node = self.lab.node(LONG, "--connect", source_enode, "--listen", listen, "--key", key, "--ttl", "300s")
            wait_whole(node, LONG, 120)
            return node
        server = start(LISTEN_RLPX)
        listening = server.event("listening", 1)[1]
        survivor = self.follower_of(listening["enode"])
        now = self.in_the_middle(survivor)
        done = now and kill(server, now, lambda since: reason_of_node(survivor, since))
        if done:
            server = start(f"/ip4/127.0.0.1/tcp/{listening['port']}/rlpx")
            done = self.completes(survivor, done)
        server.stop()
        return done

    def completes(self, survivor, done):
        """Waits until the survivor has everything. Nothing if it had that in its hands when the server died."""
        if done:
            was_whole(survivor, LONG)
            met_again = any(at > done.at for at, _ in survivor.events("peer-up"))
            return done.whole(survivor.event("end", 1)[0]) if met_again else None
        return None

    def geth_follower_dies(self, server):
        """Our serving node survives; the geth starts again on what it had on disk."""
        name = f"victim-{len(self.lab.processes)}"
        victim = self.lab.geth(NEW, SHORT, name=name, options=GETH_ARCHIVE, **GETH_KEEPS)
        victim.connect(server.enode)
        victim.forkchoice(SHORT.head_hash)
        time.sleep(self.random.uniform(0.0, self.short_span))
        if victim.head()[0] == SHORT.head:
            victim.stop()
            return None
        done = kill(victim, time.monotonic(), lambda since: reason_of_node(server.process, since))
        again = self.lab.again(victim, NEW, options=GETH_ARCHIVE)
        again.connect(server.enode)
        again.forkchoice(SHORT.head_hash)
        end = again.reach(60)
        again.stop()
        return done and done.whole(end)

    def measure_geth(self, server):
        geth = self.lab.geth(NEW, SHORT, name="undisturbed", options=GETH_ARCHIVE, **GETH_KEEPS)
        geth.connect(server.enode)
        begin = time.monotonic()
        geth.forkchoice(SHORT.head_hash)
        self.short_span = geth.reach(60) - begin
        geth.stop()


def times(count, once):
    """Does it until that many kills came before the end of the sync."""
    done = []
    for _ in range(count * 4 + 4):
        if len(done) == count:
            break
        one = once()
        if one:
            done.append(one)
    need(len(done) == count, f"only {len(done)} of {count} kills came in the middle of a sync")
    return done


def kills(count):
    """That many kills, spread over who dies and who survives."""
    seed = int(os.environ.get("TRUNKLINE_KILL_SEED") or random.randrange(10**6))
    shares = [count // 5 + (1 if share < count % 5 else 0) for share in range(5)]
    groups = {}
    with Lab() as lab:
        pairs = Pairs(lab, seed)
        geth = lab.geth(NEW, LONG, imported=True, name="source", options=GETH_SAYS)
        pairs.measure(geth.enode)
        groups["our follower, geth survives"] = times(
            shares[0], lambda: pairs.our_follower_dies(geth.enode, lambda since: reason_of_geth(geth, since)))
        server = serving_beside(lab, geth)
        groups["our follower, our server survives"] = times(
            shares[1], lambda: pairs.our_follower_dies(server.enode(), lambda since: reason_of_node(server, since)))
        server.stop()
        groups["our server, our follower survives"] = times(shares[2], lambda: pairs.our_server_dies(geth.enode))

        def geth_once():
            nonlocal geth
            geth, done = pairs.geth_serving_dies(geth)
            return done
        groups["geth, our follower survives"] = times(shares[3], geth_once)
    with Lab() as lab:
        pairs.lab = lab
        short = serving(lab, SHORT)
        pairs.measure_geth(short)
        groups["geth following, our server survives"] = times(shares[4], lambda: pairs.geth_follower_dies(short))
    slowest = 0.0
    for name, done in groups.items():
        said = max(one.said_after for one in done)
        slowest = max(slowest, said)
        reasons = sorted({one.reason for one in done})
        print(f"   {name}: {len(done)} kills, said after at most {said:.3f} s, whole again after at most "
              f"{max(one.whole_after for one in done):.1f} s; {'; '.join(reasons)}", flush=True)
    need(slowest <= SAYS_WITHIN, f"a survivor took {slowest:.2f} s to say why (seed {seed})")
    return f"{sum(map(len, groups.values()))} kills, seed {seed}, slowest word {slowest:.3f} s"


def serving_beside(lab, geth):
    """Our node with the long chain, its source still running."""
    node = lab.node(LONG, "--connect", geth.enode, "--listen", LISTEN_RLPX, "--ttl", "900s", name="our-server")
    wait_whole(node, LONG, 120)
    return node
