#!/usr/bin/env python3
"""The execution client of examples/execution_client and real geths on loopback.  After ../geth/install.sh:
    checks.py [--bin EXECUTION_CLIENT] [--node TRUNKLINE] [--quick | --full] [--only NAME] [--list]
One line per check: `ok NAME (figures)` or `FAIL NAME: why`, with what the processes said last.  Exit 0 if all hold.
--quick, the default, kills a few times; --full kills 100 times and more, and measures speed.  --only takes the checks
whose name has that text.  Without --bin and --node the executables are looked for where cargo puts them."""
import argparse, os, sys
from pathlib import Path

sys.dont_write_bytecode = True  # the tree stays as it is
ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "tests" / "interop" / "geth"))
from geth import DATA, DEVP2P, LONG, NEW, SHORT, TESTDATA, binary
from following import eth_test, growing_head, producers, reorgs, transfers
from measure import speed
from prototype import Lab
from runner import run_all
from showing import metrics_and_trace, output
from stores import another_genesis, bad_options, damaged_store, folder_in_use, full_disk, interrupted, kills, kills_20000
from syncing import (a_liar_beside_geth, bad_company, from_each_other, geth_600, geth_20000, lies_in_headers,
                     receipts_options, trunkline_600, trunkline_20000)

CHECKS = [bad_options, output, metrics_and_trace, geth_600, trunkline_600, from_each_other, receipts_options,
          lies_in_headers, a_liar_beside_geth, bad_company, folder_in_use, another_genesis, interrupted, full_disk,
          damaged_store, growing_head, reorgs, producers, transfers, eth_test, geth_20000, trunkline_20000, kills,
          kills_20000, speed]
LONG_ONES = [another_genesis, geth_20000, trunkline_20000, kills_20000, speed]


def executable(given, built):
    """The one that was named, else the first that cargo has built."""
    target = os.environ.get("CARGO_TARGET_DIR")
    folders, name = built
    places = [folder / "release" / name for folder in [*([Path(target)] if target else []), *folders]]
    places = [Path(given)] if given else places
    return next((place.resolve() for place in places if os.access(place, os.X_OK)), None)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bin", metavar="EXECUTION_CLIENT")
    options.add_argument("--node", metavar="TRUNKLINE")
    for name in ("--quick", "--full", "--list"):
        options.add_argument(name, action="store_true")
    options.add_argument("--only", metavar="NAME", default="")
    given = options.parse_args()
    checks = [check for check in CHECKS if given.only in check.__name__]
    if not (given.full or given.only or given.list):
        checks.remove(speed)
    if given.list:
        for check in checks:
            print(f"{check.__name__:20} {check.__doc__ or ''}".rstrip())
        return 0
    Lab.prototype_bin = executable(given.bin, ([ROOT / "examples" / "execution_client" / "target"], "execution_client"))
    Lab.trunkline = executable(given.node, ([ROOT / "target"], "trunkline"))
    if given.bin and not Lab.prototype_bin or given.node and not Lab.trunkline:
        options.error(f"no executable {given.node if Lab.prototype_bin else given.bin}")
    absent = [what for what, there in [
        ("execution_client (cargo build --release in examples/execution_client)", Lab.prototype_bin),
        ("trunkline (cargo build --release --features cli --bin trunkline)", Lab.trunkline),
        *((path, path.exists()) for path in (binary(NEW), DEVP2P, TESTDATA, SHORT.blocks)),
    ] if not there]
    if absent:
        print(f"SKIPPED: the checks of the execution client, for there is no {absent[0]}")
        return 0
    if not LONG.there():
        print(f"SKIPPED: what needs 20,000 blocks, for there is no {LONG.blocks}")
        checks = [check for check in checks if check not in LONG_ONES]
    if not (DATA / "geth-ethtest" / "accounts.json").exists():
        print("SKIPPED: transfers, for there are no keys of funded accounts")
        checks = [check for check in checks if check is not transfers]
    return run_all(checks, given.full)


if __name__ == "__main__":
    sys.exit(main())
