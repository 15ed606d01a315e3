"""How fast: our follower beside geth's on one geth, and our node as the server of both."""
import os, resource, statistics, time
from dataclasses import dataclass
from geth import LISTEN_LIBP2P, LISTEN_RLPX, LONG, NEW, Lab, eventually
from roles import wait_whole, was_whole, whole_follower

RUNS = 3
# Without state geth stops before the pivot, 64 blocks below the head.
PIVOT = LONG.head - 65


@dataclass
class Run:
    """One sync: how long, the follower's processor time, what it received."""
    seconds: float
    cpu: float
    megabytes: float = 0.0


def ours(lab, address):
    """Our follower, from its first dial to the verified head with every receipt."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    end = was_whole(whole_follower(lab, LONG, address), LONG)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(max(end["ms"], end["receipts_ms"]) / 1000, cpu, end["bytes_in"] / 1e6)


def geths(lab, enode, there):
    """geth's follower in snap mode, from the forkchoice call until `there` holds."""
    geth = lab.geth(NEW, LONG, name=f"rival-{len(lab.processes)}", mode="snap")
    geth.connect(enode)
    start, cpu = time.monotonic(), geth.cpu_seconds()
    geth.forkchoice(LONG.head_hash)
    eventually("the end of geth's sync", lambda: there(geth), 200)
    run = Run(time.monotonic() - start, geth.cpu_seconds() - cpu)
    geth.stop()
    return run


def at_head(geth):
    return geth.head() == (LONG.head, LONG.head_hash)


def at_pivot(geth):
    syncing = geth.rpc("eth_syncing")
    return syncing and int(syncing["currentBlock"], 16) >= PIVOT


def median(runs, what="seconds"):
    return statistics.median(getattr(run, what) for run in runs)


def row(name, runs, blocks=LONG.head):
    seconds, received = median(runs), median(runs, "megabytes")
    each = ", ".join(f"{run.seconds:.2f}" for run in runs)
    rate = f"{received / seconds:.1f}" if received else "-"
    return f"| {name} | {seconds:.2f} ({each}) | {blocks / seconds:,.0f} | {rate} | {median(runs, 'cpu'):.1f} |"


def speed():
    """The table of benches/README.md: medians of three runs that take turns."""
    load = os.getloadavg()[0]
    with Lab() as lab:
        source = lab.geth(NEW, LONG, imported=True, name="source")
        us, rival = [], []
        for _ in range(RUNS):
            us.append(ours(lab, source.enode))
            rival.append(geths(lab, source.enode, at_head))
        server = lab.node(LONG, "--connect", source.enode, "--listen", LISTEN_RLPX, "--listen", LISTEN_LIBP2P,
                          "--ttl", "900s", name="our-server")
        wait_whole(server, LONG, 120)
        source.stop()
        rlpx, libp2p, geth = [], [], []
        for _ in range(RUNS):
            rlpx.append(ours(lab, server.enode()))
            libp2p.append(ours(lab, server.addr()))
            geth.append(geths(lab, server.enode(), at_pivot))
    print("\n".join([
        "| follower, server | s, median (runs) | blocks/s | MB/s in | CPU s of the follower |",
        "|---|---|---|---|---|",
        row("ours, geth", us),
        row("geth in snap mode, the same geth", rival),
        row("ours, ours over RLPx", rlpx),
        row("ours, ours over libp2p", libp2p),
        row("geth in snap mode up to the pivot, ours", geth, blocks=PIVOT),
    ]), flush=True)
    return f"{median(rival) / median(us):.2f} times as fast as geth's follower; load average before {load:.1f}"
