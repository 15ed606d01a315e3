"""How fast: our follower beside geth's on one geth, and our node as the server of both."""
import statistics, time
from geth import LISTEN_LIBP2P, LISTEN_RLPX, LONG, NEW, Lab, eventually, need
from roles import wait_whole

RUNS = 3
# Without state geth stops before the pivot, 64 blocks below the head.
PIVOT = LONG.head - 65


def ours(lab, address):
    """Seconds from the first dial to the verified head with all receipts, processor seconds, bytes in."""
    node = lab.follower(LONG, "--connect", address)
    end = node.reach_and_end(200)
    need(end["receipts"] == {"held": LONG.head, "missing": 0}, f"receipts {end['receipts']}")
    return end["ms"] / 1000, end["bytes_in"] / 1e6


def geths(lab, enode, there):
    """Seconds from the forkchoice call until `there` holds."""
    geth = lab.geth(NEW, LONG, name=f"rival-{len(lab.processes)}", mode="snap")
    geth.connect(enode)
    start = time.monotonic()
    geth.forkchoice(LONG.head_hash)
    eventually("the end of geth's sync", lambda: there(geth), 200)
    took = time.monotonic() - start
    geth.stop()
    return took


def at_head(geth):
    return geth.head() == (LONG.head, LONG.head_hash)


def at_pivot(geth):
    syncing = geth.rpc("eth_syncing")
    return syncing and int(syncing["currentBlock"], 16) >= PIVOT


def row(what, seconds, megabytes=None, blocks=LONG.head):
    median = statistics.median(seconds)
    runs = ", ".join(f"{second:.2f}" for second in seconds)
    rate = f"{megabytes / median:.1f}" if megabytes else "-"
    return f"| {what} | {median:.2f} ({runs}) | {blocks / median:,.0f} | {rate} |"


def speed():
    """The table of benches/README.md: medians of three runs that take turns."""
    lines = ["| 20,000 blocks with receipts | s, median (runs) | blocks/s | MB/s in |", "|---|---|---|---|"]
    with Lab() as lab:
        source = lab.geth(NEW, LONG, imported=True, name="source")
        us, rival = [], []
        for _ in range(RUNS):
            us.append(ours(lab, source.enode))
            rival.append(geths(lab, source.enode, at_head))
        lines.append(row("our follower, from geth", [took for took, _ in us], us[0][1]))
        lines.append(row("geth's follower in snap mode, from the same geth", rival))
        ratio = statistics.median(rival) / statistics.median(took for took, _ in us)
        server = lab.node(LONG, "--connect", source.enode, "--listen", LISTEN_RLPX, "--listen", LISTEN_LIBP2P,
                          "--ttl", "900s", name="our-server")
        wait_whole(server, LONG, 120)
        source.stop()
        rlpx, libp2p, geth = [], [], []
        for _ in range(RUNS):
            rlpx.append(ours(lab, server.enode()))
            libp2p.append(ours(lab, server.addr()))
            geth.append(geths(lab, server.enode(), at_pivot))
        lines.append(row("our follower, from our node over RLPx", [took for took, _ in rlpx], rlpx[0][1]))
        lines.append(row("our follower, from our node over libp2p", [took for took, _ in libp2p], libp2p[0][1]))
        lines.append(row("geth's follower in snap mode, from our node, up to the pivot", geth, blocks=PIVOT))
    print("\n".join(lines), flush=True)
    return f"{ratio:.2f} times as fast as geth's follower"
