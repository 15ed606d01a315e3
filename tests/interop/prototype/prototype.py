"""What the checks start beside geth and `trunkline node`: the execution client, and how its words are judged."""
import contextlib, re, shutil, signal, subprocess, threading
import geth
from chains import block, state_root
from geth import LISTEN_LIBP2P, LISTEN_RLPX, Node, need, run
from processes import Skipped

BOTH_WIRES = ["--listen", LISTEN_LIBP2P, "--listen", LISTEN_RLPX]


class Prototype(Node):
    """A running execution client; its lines on stdout are events. Watches how much memory it ever held."""

    def __init__(self, name, command, **more):
        self.peak_kib = 0
        super().__init__(name, command, **more)
        self.watcher = threading.Thread(target=self._watch, daemon=True)
        self.watcher.start()

    def _watch(self):
        pause = threading.Event()
        with contextlib.suppress(OSError):  # it ended
            while self.running():
                with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
                    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read())
                if not peak:
                    return
                self.peak_kib = int(peak.group(1))
                pause.wait(0.02)

    def peak_mib(self):
        return self.peak_kib / 1024

    def opened(self, secs=20):
        return self.event("opened", secs)[1]

    def last(self, name):
        seen = self.events(name)
        return seen[-1][1] if seen else None

    def complaints(self):
        """What it wrote to stderr, without empty lines."""
        with self.changed:
            return [line for _, line in self.err if line.strip()]

    def keeps_the_contract(self):
        """Whatever it was asked: events only, `end` last, no panic."""
        with self.changed:
            events = [event for _, event in self.out]
        need(not any("panicked" in line for line in self.complaints()), f"{self.name}: {self.complaints()[-4:]}")
        junk = [event for event in events if event["event"] == "not json"]
        need(not junk, f"{self.name} wrote to stdout: {junk[:2]}")
        ends = [event for event in events if event["event"] == "end"]
        need(len(ends) <= 1 and (not ends or events[-1] is ends[0]), f"{self.name}: `end` is not the last: {events[-2:]}")

    def true_to(self, chain):
        """Every block that it told of has the hash and root that the file says. How many it told of."""
        heads = [event for _, event in self.events("head")] + [event for _, event in self.events("opened")]
        told = {event["number"]: (event["hash"], event["root"]) for event in heads if event["number"]}
        for number, said in told.items():
            need(said == block(chain, number), f"{self.name}, block {number}: {said} instead of {block(chain, number)}")
        return len(told)

    def is_at(self, chain, event, number=None):
        """Whether that event speaks of this block of the chain, the head if none is named."""
        number = number or chain.head
        return (event["number"], event["hash"], event["root"]) == (number, *block(chain, number))

    def reached(self, chain, secs=120, until=None):
        """Waits for its end, which must be a success at the head. The `end` event."""
        code = self.exit_code(secs)
        self.keeps_the_contract()
        need(code == 0, f"{self.name} ended with {code}: {self.complaints()[-3:]}")
        end = self.event("end", 1)[1]
        need(self.is_at(chain, end, until), f"{self.name} ended at {end['number']} {end['hash']} root {end['root']}, "
                                            f"not at {until or chain.head} {block(chain, until or chain.head)}")
        need(end["orphans"] == 0, f"{self.name}: {end['orphans']} orphans")
        self.true_to(chain)
        return end


class Lab(geth.Lab):
    """The processes of one check, with the prototype among them, and a folder for each store."""
    prototype_bin = None  # set by the runner

    def store(self, name):
        return self.home / f"{name}.store"

    def command(self, chain, *options, store):
        genesis = getattr(chain, "genesis", chain)
        return [self.prototype_bin, "--json", "--genesis", genesis, "--datadir", store, *options]

    def prototype(self, chain, *options, name=None, store=None, **more):
        """The execution client on this chain, or on a genesis named by itself."""
        name = name or f"prototype-{len(self.processes)}"
        command = self.command(chain, *options, store=store or self.store(name))
        return self.add(Prototype(name, command, **more))

    def syncing(self, chain, peers, *options, until=None, **more):
        """One that ends at the head, or at an earlier block."""
        dialled = [word for peer in peers for word in ("--bootnode", peer)]
        trusted = block(chain, until)[0] if until else chain.head_hash
        return self.prototype(chain, "--head", trusted, "--until-block", until or chain.head, "--timeout", "180s", *dialled,
                              *options, **more)

    def following(self, chain, peers, *options, **more):
        """One that stays, whose peers can be others; it serves on both wires."""
        dialled = [word for peer in peers for word in ("--bootnode", peer)]
        return self.prototype(chain, "--follow", "--ttl", "300s", *BOTH_WIRES, *dialled, *options, **more)

    def importing(self, chain, name=None):
        """`trunkline node` that serves a file over both wires: headers and bodies, no receipts."""
        return self.node(chain, "--import", chain.blocks, *BOTH_WIRES, "--ttl", "300s", name=name)

    def refused(self, chain, *options, store, secs=30):
        """A start that must fail as unusable: exit 2 and one line. The line."""
        done = run(self.command(chain, *options, store=store), secs)
        return unusable(done, " ".join(map(str, options))[-120:] or str(store))

    @contextlib.contextmanager
    def tmpfs(self, mebibytes):
        """A mounted folder of that size."""
        folder = self.home / "small"
        folder.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", folder],
                               capture_output=True, text=True, check=False)
        if mount.returncode:
            raise Skipped(f"no right to mount a small tmpfs: {mount.stderr.strip()}")
        try:
            yield folder
        finally:
            for process in self.processes:
                if process.running():
                    process.stop(signal.SIGKILL)
            subprocess.run(["umount", folder], check=True)


def unusable(done, what):
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    need("panicked" not in done.stderr, f"{what}: {lines}")
    need(done.returncode == 2, f"{what}: exit {done.returncode}, not 2: {lines[-3:]}")
    need(len(lines) == 1, f"{what}: {len(lines)} lines on stderr: {lines}")
    return lines[0]


def copied(store, name):
    """The same store once more."""
    return shutil.copytree(store, store.with_name(name))


def rates(end):
    """The stages of an `end` event, as text."""
    return ", ".join(f"{stage} {seen['blocks_per_s']:,.0f}/s" for stage, seen in end["stages"].items() if seen["blocks"])


