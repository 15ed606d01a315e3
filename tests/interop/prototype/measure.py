"""How fast: the prototype's full sync beside geth's, of the same chain from the same geth in the same run."""
import os, statistics, time
from geth import LONG, NEW
from prototype import Lab, rates

RUNS = 3
STAGES = ["headers", "bodies", "receipts", "execution"]


def ours(lab, enode):
    """One sync: its `end` event, the processor time, the memory."""
    node = lab.syncing(LONG, [enode], "--receipts", "auto")
    # The kernel forgets a child's times with the child.
    cpu, end = 0.0, None
    while node.running():
        try:
            cpu = node.cpu_seconds()
        except OSError:
            break
        time.sleep(0.02)
    end = node.reached(LONG, 5)
    return {"ms": end["ms"], "cpu": cpu, "mib": node.peak_mib(), "mb": end["bytes_in"] / 1e6, "end": end}


def geths(lab, enode):
    """geth's follower, which executes every block too, from being told the target until it is there."""
    geth = lab.geth(NEW, LONG, name=f"rival-{len(lab.processes)}", mode="full")
    geth.connect(enode)
    start, cpu = time.monotonic(), geth.cpu_seconds()
    geth.rpc("debug_sync", LONG.head_hash)
    end = geth.reach(300)
    used = geth.cpu_seconds() - cpu
    geth.stop()
    return {"ms": (end - start) * 1000, "cpu": used}


def median(runs, what):
    return statistics.median(run[what] for run in runs)


def row(name, runs):
    seconds = median(runs, "ms") / 1000
    each = ", ".join(f"{run['ms'] / 1000:.1f}" for run in runs)
    memory = f"{median(runs, 'mib'):.0f}" if "mib" in runs[0] else "-"
    return f"| {name} | {seconds:.1f} ({each}) | {LONG.head / seconds:,.0f} | {median(runs, 'cpu'):.1f} | {memory} |"


def speed():
    """The tables of benches/README.md: medians of three runs that take turns."""
    load = os.getloadavg()[0]
    with Lab() as lab:
        source = lab.geth(NEW, LONG, imported=True, name="source")
        us, rival = [], []
        for _ in range(RUNS):
            us.append(ours(lab, source.enode))
            rival.append(geths(lab, source.enode))
    print("\n".join([
        "| follower | s, median (runs) | blocks/s | CPU s of the follower | MiB at the most |",
        "|---|---|---|---|---|",
        row("the prototype, with receipts", us),
        row("geth, full sync, the same geth", rival),
        "",
        "| stage of the prototype | blocks/s, median (runs) |",
        "|---|---|",
        *(stage_row(stage, us) for stage in STAGES),
    ]), flush=True)
    times = median(rival, "ms") / median(us, "ms")
    return f"{times:.2f} times as fast as geth; {rates(us[-1]['end'])}; load average before {load:.1f}"


def stage_row(stage, runs):
    seen = [run["end"]["stages"][stage]["blocks_per_s"] for run in runs]
    return f"| {stage} | {statistics.median(seen):,.0f} ({', '.join(f'{one:,.0f}' for one in seen)}) |"
