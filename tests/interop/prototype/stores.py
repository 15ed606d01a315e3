"""What the folder on disk survives: kill -9, signals, a full disk, damage, a second process, and wrong words."""
import hashlib, os, random, shutil, signal, socket, time
from collections import Counter
from chains import block
from geth import LONG, NEW, SHORT, need, run
from prototype import Lab, copied, unusable

FULL = ("space", "full")
HEADERS_SPARE = 64


def digests(folder):
    """What is in each file of a folder."""
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*")) if file.is_file()}


def open_again(lab, node, chain, store):
    """A complete store, with nobody to ask: it is at the head when it opens, and that is enough."""
    again = lab.syncing(chain, [], name=f"{node.name}-alone", store=store)
    need(again.is_at(chain, again.opened()), f"opened {again.opened()}")
    end = again.reached(chain, 20)
    need(end["bytes_in"] == 0, f"{end['bytes_in']} bytes in")


class Killer:
    """Kills of one sync after the other; each store goes on until its sync is done."""

    def __init__(self, lab, chain, enode, seed):
        self.lab, self.chain, self.enode, self.random = lab, chain, enode, random.Random(seed)
        self.where, self.lost, self.syncs, self.kills = Counter(), 0, 0, 0
        whole = self.start(lab.store("undisturbed"))
        whole.reached(self.chain, 200)
        self.span = whole.event("end", 1)[0] - whole.started

    def start(self, store):
        return self.lab.syncing(self.chain, [self.enode], name=f"victim-{len(self.lab.processes)}", store=store)

    def one_sync(self, most):
        """Up to that many kills of one sync, then its end."""
        store, held = self.lab.store(f"killed-{self.syncs}"), None
        self.syncs += 1
        for _ in range(self.random.randint(1, 8)):
            if self.kills == most:
                break
            victim = self.start(store)
            time.sleep(self.random.uniform(0.0, self.span * 0.8))
            if not victim.running():
                break
            victim.kill()
            self.kills += 1
            held = self.judged(victim, held)
        last = self.start(store)
        end = last.reached(self.chain, 200)
        self.judged(last, held)
        opened = last.opened()["number"]
        for what, count in end["fetched"].items():
# Some headers are asked of several peers, or to find where chains part.
            needed = self.chain.head - opened + (HEADERS_SPARE if what == "headers" else 0)
            need(count <= needed, f"opened at {opened}, then fetched {end['fetched']}")
        open_again(self.lab, last, self.chain, store)
        shutil.rmtree(store)

    def judged(self, node, held):
        """What a node told; `held` is what the one before it had told. A victim may have died before its first word."""
        node.keeps_the_contract()
        node.true_to(self.chain)
        need(not node.complaints(), f"{node.name}: {node.complaints()}")
        told = node.last("opened")
        if told is None:
            self.where["before it opened"] += 1
            return held
        if held is not None and told["number"] < held["number"]:
            self.lost += 1
            need(False, f"{node.name} opened at {told['number']}, after block {held['number']} had been told as executed")
        self.resumes(node, held)
        head = node.last("head") or told
        self.where["without a block" if head["number"] == 0 else "with blocks"] += 1
        return {"number": head["number"], "progress": node.last("progress") or (held or {}).get("progress")}

    def resumes(self, node, held):
        """Its first progress is not behind the last one of the life before; headers are stored with their bodies."""
        first = next((event for _, event in node.events("progress")), None)
        before = (held or {}).get("progress")
        if first and before:
            for stage in ("bodies", "executed"):
                need(first[stage] >= before[stage], f"kill {self.kills}: {node.name} began at {first}, after {before}")


def killed(chain, count):
    seed = int(os.environ.get("TRUNKLINE_KILL_SEED") or random.randrange(10**6))
    print(f"   seed {seed}", flush=True)
    with Lab() as lab:
        geth = lab.geth(NEW, chain, imported=True)
        killer = Killer(lab, chain, geth.enode, seed)
        while killer.kills < count:
            killer.one_sync(count)
        where = ", ".join(f"{number} {what}" for what, number in killer.where.items())
        return f"{killer.kills} kills over {killer.syncs} syncs of {killer.span:.1f} s (lives: {where}), seed {seed}"


def kills(full):
    """kill -9 at random moments of syncs of 600 blocks from geth: each goes on from what was told, and ends right."""
    return killed(SHORT, 100 if full else 10)


def kills_20000(full):
    """The same with 20,000 blocks, whose execution is committed many times on the way."""
    return killed(LONG, 30 if full else 4)


def full_disk():
    """A store on 8 MiB: exit 2, one line that names the folder; moved to a larger place it goes on."""
    with Lab() as lab, lab.tmpfs(8) as small:
        geth = lab.geth(NEW, SHORT, imported=True)
        store = small / "store"
        node = lab.syncing(SHORT, [geth.enode], "--receipts", "required", store=store)
        code = node.exit_code(60)
        said = node.complaints()
        need(code == 2 and len(said) == 1, f"exit {code}: {said}")
        need(str(store) in said[0] and any(word in said[0].lower() for word in FULL), f"said {said[0]!r}")
        node.keeps_the_contract()
        told = node.last("head") or node.opened()
        still_full = lab.syncing(SHORT, [geth.enode], "--receipts", "required", store=store)
        code = still_full.exit_code(60)
        need(code == 2 and len(still_full.complaints()) == 1, f"again: exit {code}: {still_full.complaints()}")
        still_full.keeps_the_contract()
        moved = shutil.copytree(store, lab.store("moved"))
        node = lab.syncing(SHORT, [geth.enode], "--receipts", "required", store=moved)
        need(node.opened()["number"] >= told["number"], f"told {told}, opened {node.opened()}")
        end = node.reached(SHORT)
        return f"{said[0]!r}; at block {told['number']}, then {end['ms']} ms"


def folder_in_use():
    """A second process on the folder is refused, and the first does not notice."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        store = lab.store("shared")
        first = lab.following(SHORT, [geth.enode], name="first", store=store)
        first.opened()
        early = lab.refused(SHORT, store=store)
        first.at_head(SHORT.head, 60)
        late = lab.refused(SHORT, "--until-block", 1, store=store)
        for line in (early, late):
            need(str(store) in line, f"no folder in {line!r}")
        need(first.stop() == 0, "the first did not end well")
        open_again(lab, first, SHORT, store)
        return repr(late)


def another_genesis():
    """A store of another chain is refused and stays as it is."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        store = lab.store("short")
        node = lab.syncing(SHORT, [geth.enode], until=100, store=store)
        node.reached(SHORT, until=100)
        before = digests(store)
        lines = [lab.refused(genesis, store=store) for genesis in ("dev", LONG.genesis)]
        for line in lines:
            need("genesis" in line and str(store) in line, f"said {line!r}")
        need(digests(store) == before, "the store was touched")
        lab.syncing(SHORT, [geth.enode], store=store).reached(SHORT)
        return repr(lines[0])


def spoil(file, how, chance):
    """Damages a file in a way that its name says."""
    size, (kind, _, part) = file.stat().st_size, how.partition(" ")
    with file.open("r+b") as opened:
        if kind == "cut":
            opened.truncate(size * int(part) // 100)
        elif kind == "rubbish":
            opened.write(chance.randbytes(size))
        else:
            at = {"start": 0, "middle": size // 2}.get(part, chance.randrange(max(size - 4096, 1)))
            opened.seek(at)
            old = opened.read(4096)
            opened.seek(at)
            opened.write(bytes(byte ^ 0x5A for byte in old))


def damaged_store():
    """A damaged file: refused in one line, or the damage does not matter and the end is right; no peer is blamed."""
    seed = int(os.environ.get("TRUNKLINE_KILL_SEED") or random.randrange(10**6))
    chance, outcomes, wrong = random.Random(seed), Counter(), []
    ways = ["cut 0", "cut 50", "cut 99", "rubbish", "flip start", "flip middle", *["flip anywhere"] * 14]
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        sound = lab.store("sound")
        lab.syncing(SHORT, [geth.enode], until=300, store=sound).reached(SHORT, until=300)
        for index, how in enumerate(ways):
            store = copied(sound, f"damaged-{index}")
            file = max((file for file in store.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
            spoil(file, how, chance)
            before = digests(store)
            node = lab.syncing(SHORT, [geth.enode], store=store, name=f"damaged-{index}")
            try:
                code = node.exit_code(60)
                node.keeps_the_contract()
                need(not node.events("bad-block"), f"a block was called bad: {node.events('bad-block')}")
                if code == 0:
                    node.reached(SHORT)
                    outcomes["went on"] += 1
                else:
                    said = node.complaints()
                    need(code == 2 and len(said) == 1, f"exit {code}: {said[-3:]}")
                    # redb repairs what was not closed, or does not look so, before it finds that it cannot.
                    outcomes["refused" if digests(store) == before else "refused after a repair was tried"] += 1
            except Exception as error:
                wrong.append(f"{how}: {error}")
            shutil.rmtree(store)
        need(not wrong, f"seed {seed}, {len(wrong)} of {len(ways)}:\n  " + "\n  ".join(wrong))
        return ", ".join(f"{count} {what}" for what, count in outcomes.items())


def bad_options():
    """Each is one clear line on stderr and exit 2, and no folder is made."""
    with Lab() as lab, socket.create_server(("127.0.0.1", 0)) as busy:
        home, port = lab.home, busy.getsockname()[1]
        (home / "file").write_text("not a folder")
        (home / "cut.json").write_text(SHORT.genesis.read_text()[:5000])
        (home / "odd.json").write_text('{"config":{"chainId":"x"},"alloc":{}}')
        (home / "bad.key").write_text("not a key")
        (home / "bad.txs").write_text("0x02zz\n")
        fine = ["--genesis", SHORT.genesis, "--datadir", home / "never"]
        cases = [
            [], ["--frobnicate"], ["--genesis", SHORT.genesis], ["--datadir", home / "never"],
            ["--genesis", home / "absent.json", "--datadir", home / "never"],
            ["--genesis", home / "cut.json", "--datadir", home / "never"],
            ["--genesis", home / "odd.json", "--datadir", home / "never"],
            ["--genesis", home, "--datadir", home / "never"], ["--genesis", "atlantis", "--datadir", home / "never"],
            ["--genesis", SHORT.genesis, "--datadir", home / "file"],
            ["--genesis", SHORT.genesis, "--datadir", home / "file" / "below"],
            [*fine, "--listen", "127.0.0.1:1"], [*fine, "--listen", "/ip4/300.0.0.1/tcp/1"],
            [*fine, "--listen", f"/ip4/127.0.0.1/tcp/{port}"], [*fine, "--listen", f"/ip4/127.0.0.1/tcp/{port}/rlpx"],
            [*fine, "--bootnode", "/ip4/127.0.0.1/tcp/1/p2p/notapeerid"], [*fine, "--bootnode", "enode://79be@127.0.0.1:1"],
            [*fine, "--bootnode", f"enode://{'00' * 64}@127.0.0.1:30303"], [*fine, "--bootnode", "nonsense"],
            [*fine, "--head", "0x1234"], [*fine, "--head", "zz"], [*fine, "--head", SHORT.head_hash, "--follow"],
            [*fine, "--until-block", "-5"], [*fine, "--until-block", "many"], [*fine, "--timeout", "soon"],
            [*fine, "--timeout", "5s"], [*fine, "--ttl", "5"], [*fine, "--receipts", "perhaps"],
            [*fine, "--max-peers", "x"], [*fine, "--produce", "0ms"], [*fine, "--produce", "1s"],
            [*fine, "--metrics", "nowhere"], [*fine, "--metrics", f"127.0.0.1:{port}"],
            [*fine, "--discovery", "nowhere"], [*fine, "--key", home / "bad.key"],
            [*fine, "--tx-file", home / "absent.txs"], [*fine, "--tx-file", home / "bad.txs"],
            [*fine, "--trace", home / "file" / "below"], [*fine, "surplus"],
        ]
        wrong = []
        for case in cases:
            short = " ".join(str(word).replace(str(home), "HOME") for word in case)
            try:
                unusable(run([lab.prototype_bin, "--json", *case, *([] if "--ttl" in case else ["--ttl", "3s"])], 20), short)
                need(not (home / "never").exists(), f"{short}: a folder was made")
            except Exception as error:
                wrong.append(str(error))
                shutil.rmtree(home / "never", ignore_errors=True)
        need((home / "bad.key").read_text() == "not a key", "a key was overwritten")
        need(not wrong, f"{len(wrong)} of {len(cases)}:\n  " + "\n  ".join(wrong))
        shown = run([lab.prototype_bin, "--help"], 10)
        need(shown.returncode == 0 and not shown.stderr, f"--help: exit {shown.returncode}: {shown.stderr}")
        for option in ("--genesis", "--datadir", "--bootnode", "--listen", "--head", "--follow", "--until-block", "--json",
                       "--trace", "--metrics", "--tx-file", "--produce", "--receipts", "--discovery", "--key", "--ttl"):
            need(option in shown.stdout, f"--help does not tell of {option}")
        return f"{len(cases)} cases"


def interrupted():
    """SIGINT and SIGTERM in the middle: drained within 5 s, 1 for the unreached block; a second one ends it at once."""
    with Lab() as lab:
        chain = LONG if LONG.there() else SHORT
        geth = lab.geth(NEW, chain, imported=True)
        store, slowest, opened = lab.store("interrupted"), 0.0, []
        for which in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            node = lab.syncing(chain, [geth.enode], store=store)
            opened.append(node.opened()["number"])
            node.at_head(opened[-1] + 1, 60)
            start = time.monotonic()
            code = node.stop(which, 10)
            slowest = max(slowest, time.monotonic() - start)
            node.keeps_the_contract()
            end = node.event("end", 1)[1]
            need(code == 1 and slowest < 5.0, f"exit {code} after {slowest:.1f} s: {node.complaints()}")
            need(len(node.complaints()) == 1, f"said {node.complaints()}")
            need(end["root"] == block(chain, end["number"])[1], f"ended with {end}")
            again = lab.prototype(chain, "--until-block", end["number"], "--timeout", "5s", store=store)
            need(again.exit_code(10) == 0, f"not at {end['number']} when opened again: {again.complaints()}")
        need(opened == sorted(opened) and opened[1] > 0, f"opened at {opened}")
        node = lab.syncing(chain, [geth.enode], store=store)
        node.at_head(node.opened()["number"] + 1, 60)
        node.child.send_signal(signal.SIGINT)
        start = time.monotonic()
        code = node.stop(signal.SIGINT, 5)
        at_once = time.monotonic() - start
        need(code != 0 and at_once < 1.0, f"second signal: exit {code} after {at_once:.2f} s")
        lab.syncing(chain, [geth.enode], store=store).reached(chain, 200)
        idle = lab.following(SHORT, [], name="idle")
        idle.opened()
        need(idle.stop(signal.SIGTERM, 6) == 0, "an idle one did not end with 0 after SIGTERM")
        idle.keeps_the_contract()
        short = lab.prototype(SHORT, "--ttl", "500ms", name="short-lived")
        need(short.exit_code(8) == 0, "the ttl did not end with 0")
        return f"opened at {opened}; at most {slowest:.2f} s, a second one {at_once:.2f} s"
