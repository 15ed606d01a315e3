"""What the checks start: geth (several versions), our node, the devp2p tool; and the chains they speak about."""
import base64, gzip, hashlib, hmac, json, os, re, secrets, shutil, signal, subprocess, tempfile, time, urllib.request
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from processes import Failed, Process, end_with_parent, eventually, need

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("TRUNKLINE_INTEROP_CACHE")
             or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trunkline-interop")
DATA = Path(os.environ.get("TRUNKLINE_INTEROP_DATA") or HERE.parents[2].parent / "shared" / "data")
OLD, NEW = "1.17.0", "1.17.5"
TESTDATA = CACHE / f"geth-v{NEW}" / "testdata"
DEVP2P = CACHE / f"geth-v{NEW}" / "devp2p"
# Cases of `devp2p rlpx eth-test` that a server of headers, bodies and receipts can pass ..
ETH_POSSIBLE = ["Status", "MaliciousHandshake", "BlockRangeUpdateExpired", "BlockRangeUpdateFuture",
                "BlockRangeUpdateInvalid", "GetBlockHeaders", "GetNonexistentBlockHeaders", "SimultaneousRequests",
                "SameRequestID", "ZeroRequestID", "GetBlockBodies", "GetReceipts", "GetLargeReceipts"]
# .. and those that need a transaction pool and the state.
ETH_POOL = ["LargeTxRequest", "Transaction", "InvalidTxs", "NewPooledTxs", "BlobViolations",
            "TestBlobTxWithoutSidecar", "TestBlobTxWithMismatchedSidecar"]
LISTEN_RLPX, LISTEN_LIBP2P = "/ip4/127.0.0.1/tcp/0/rlpx", "/ip4/127.0.0.1/tcp/0"


@dataclass(frozen=True)
class Chain:
    """A chain in files: genesis.json and blocks 1.. as concatenated RLP, perhaps gzipped."""
    name: str
    genesis: Path
    blocks: Path
    head: int
    head_hash: str
    network: int

    @lru_cache
    def raw(self):
        return gzip.open(self.blocks).read() if self.blocks.suffix == ".gz" else self.blocks.read_bytes()

    def there(self):
        return self.genesis.exists() and self.blocks.exists()


def _chain(name, folder, blocks, head, head_hash, network):
    return Chain(name, folder / "genesis.json", folder / blocks, head, head_hash, network)


# The tool's test data has the short chain too.
_SHORT = DATA / "geth-ethtest" if (DATA / "geth-ethtest").exists() else TESTDATA
SHORT = _chain("600", _SHORT, "chain.rlp", 600,
               "0x44e3809c9a3cda717f00aea3a9da336d149612c8d5657fbc0028176ef8d94d2a", 3503995874084926)
LONG = _chain("20000", DATA / "long", "chain.rlp.gz", 20000,
              "0x0fdd9c93d6446c7f8205204a5927f9a751133aa210d143326479a4ff92e5ea1e", 1820000)


class Geth(Process):
    """A running geth, on loopback, with ports of its own choice."""

    def __init__(self, name, home, version, chain, datadir, key, port=0, mode="full", options=(), discovery=False):
        self.chain, self.datadir, self.key, self.secret = chain, datadir, key, secrets.token_hex(32)
        jwt, config = home / f"{name}.jwt", home / f"{name}.toml"
        jwt.write_text(self.secret)
        # There is no flag for the address to listen on.
        config.write_text(f'[Node.P2P]\nListenAddr = "127.0.0.1:{port}"\n')
        found = ["--bootnodes", "", "--nat", "extip:127.0.0.1"] if discovery else ["--nodiscover", "--nat", "none"]
        super().__init__(name, [
            binary(version), "--config", config, "--datadir", datadir, "--networkid", chain.network,
            "--syncmode", mode, *found, "--nodekeyhex", key, "--maxpeers", 50, "--ipcdisable",
            "--http", "--http.addr", "127.0.0.1", "--http.port", 0, "--http.api", "eth,net,admin,debug,web3",
            "--authrpc.port", 0, "--authrpc.jwtsecret", jwt, "--cache", 256, "--history.logs.disable", *options])

    def ready(self):
        """Waits until it can be asked and connected to."""
        http = r"HTTP server started +endpoint=127\.0\.0\.1:(\d+) auth=%s"
        self.http = f"http://127.0.0.1:{self.logged(http % 'false', 60)[1].group(1)}"
        self.authrpc = f"http://127.0.0.1:{self.logged(http % 'true', 60)[1].group(1)}"
        started = self.logged(r'Started P2P networking +self="?(enode://[0-9a-f]+@127\.0\.0\.1:(\d+)[^" ]*)', 60)[1]
        self.enode, self.port = started.group(1), int(started.group(2))
        return self

    def logged(self, pattern, secs, after=0.0):
        """Time and match of a line of its log."""
        at, line = self.wait_for(f"line {pattern!r}", self.err, re.compile(pattern).search, secs, after)
        return at, re.search(pattern, line)

    def rpc(self, method, *params):
        return _post(self.http, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    def engine(self, request):
        """A request of the engine API, with the token it wants."""
        def b64(data):
            return base64.urlsafe_b64encode(data).rstrip(b"=")
        body = b".".join(b64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"},
                                                                     {"iat": int(time.time())}))
        token = body + b"." + b64(hmac.new(bytes.fromhex(self.secret), body, hashlib.sha256).digest())
        return _post(self.authrpc, request, {"Authorization": f"Bearer {token.decode()}"})

    def forkchoice(self, head, finalized=None):
        """Names the head. VALID once it has it, SYNCING while it fetches it."""
        state = {"headBlockHash": head, "safeBlockHash": finalized or head, "finalizedBlockHash": finalized or head}
        call = {"jsonrpc": "2.0", "id": 1, "method": "engine_forkchoiceUpdatedV3", "params": [state, None]}
        return self.engine(call)["payloadStatus"]["status"]

    def head(self):
        block = self.rpc("eth_getBlockByNumber", "latest", False)
        return int(block["number"], 16), block["hash"]

    def reach(self, secs):
        """Waits until its head is the chain's. When that was seen."""
        def there():
            return self.head() == (self.chain.head, self.chain.head_hash)
        eventually(f"{self.name} at block {self.chain.head}", there, secs)
        return time.monotonic()

    def connect(self, enode, secs=20):
        """Dials, and waits until the peer speaks eth. The version of eth."""
        self.rpc("admin_addPeer", enode)
        wanted = re.search(r"enode://([0-9a-f]+)@", enode).group(1)

        def speaks():
            for peer in self.rpc("admin_peers"):
                eth = peer["protocols"].get("eth")
                if f"//{wanted}@" in peer["enode"] and isinstance(eth, dict):
                    return eth["version"]
            return None
        return eventually(f"{self.name} connected to {enode[:24]}..", speaks, secs)


class Node(Process):
    """A running `trunkline node --json`; its lines on stdout are events."""

    def parse(self, line, is_stdout):
        if not is_stdout:
            return line
        try:
            return json.loads(line)
        except ValueError:
            return {"event": "not json", "line": line}

    def event(self, name, secs, where=lambda event: True, after=0.0):
        """Time and value of the first such event."""
        def matches(event):
            return event.get("event") == name and where(event)
        return self.wait_for(f"event {name}", self.out, matches, secs, after)

    def events(self, name):
        with self.changed:
            return [(at, event) for at, event in self.out if event.get("event") == name]

    def enode(self, secs=20):
        return self.event("listening", secs, lambda event: "enode" in event)[1]["enode"]

    def addr(self, secs=20):
        return self.event("listening", secs, lambda event: "addr" in event)[1]["addr"]

    def at_head(self, number, secs, after=0.0):
        """Waits until its verified head is that block. When that was seen."""
        return self.event("head", secs, lambda event: event["number"] >= number, after)[0]

    def reach_and_end(self, secs):
        """Waits for its end with --until-block reached. The `end` event."""
        code = self.exit_code(secs)
        need(code == 0, f"{self.name} ended with {code}")
        return self.event("end", 1)[1]


class Lab:
    """A temporary folder and the processes of one check; all end with the block."""
    trunkline = None  # set by the runner

    def __enter__(self):
        self.home = Path(tempfile.mkdtemp(prefix="trunkline-geth-"))
        self.processes = []
        return self

    def __exit__(self, kind, error, _):
        if isinstance(error, Exception):
            error.seen = "\n".join(process.last_words() for process in self.processes[-6:])
        for process in reversed(self.processes):
            if process.running():
                process.stop(signal.SIGTERM if isinstance(process, Node) else signal.SIGINT, 10)
        shutil.rmtree(self.home, ignore_errors=True)

    def add(self, process):
        self.processes.append(process)
        return process

    def geth(self, version, chain, imported=False, name=None, datadir=None, key=None, scheme="path", **more):
        """A geth that answers: with the chain imported, empty, or on a datadir of its own."""
        name = name or f"geth-{version}-{len(self.processes)}"
        if datadir is None:
            datadir = self.home / f"{name}.data"
            shutil.copytree(datadir_of(version, chain, imported, scheme), datadir)
        geth = Geth(name, self.home, version, chain, datadir, key or secrets.token_hex(32), **more)
        return self.add(geth).ready()

    def again(self, geth, version, **more):
        """A geth that was ended, with the same key, port and folder."""
        name = f"{geth.name.partition('+')[0]}+{len(self.processes)}"
        return self.geth(version, geth.chain, name=name, datadir=geth.datadir, key=geth.key, port=geth.port, **more)

    def node(self, chain, *options, name=None):
        """Our node with these options, on this chain."""
        command = [self.trunkline, "node", "--json", "--chain", chain.genesis, *options]
        return self.add(Node(name or f"node-{len(self.processes)}", command))

    def follower(self, chain, *options, **more):
        """Our node that ends when it has the whole chain."""
        return self.node(chain, "--until-block", chain.head, "--timeout", "180s", *options, **more)

    def trunkline_run(self, *arguments, secs=60):
        return run([self.trunkline, *arguments], secs)

    def key(self, name):
        """A file with a new secp256k1 identity of ours."""
        file = self.home / f"{name}.key"
        made = self.trunkline_run("key", "new", file)
        need(made.returncode == 0, f"trunkline key new: {made.stderr}")
        return file


def run(command, secs, check=False):
    """A child that ends by itself."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=secs,
                              preexec_fn=end_with_parent)
    except subprocess.TimeoutExpired as late:
        failed = Failed(f"still running after {secs} s: {' '.join(command)[:300]}")
        failed.stdout = (late.stdout or b"").decode(errors="replace")
        failed.args = (f"{failed}\n{failed.stdout[-1500:]}",)
        raise failed from None
    if check and done.returncode != 0:
        raise Failed(f"exit {done.returncode}: {' '.join(command)[:300]}\n{done.stderr[-800:]}")
    return done


def devp2p_tests(arguments, secs):
    """A test suite of the devp2p tool: the names of what passed and of what failed, and its output."""
    try:
        done = run([DEVP2P, *arguments], secs)
        output, errors = done.stdout, done.stderr
    except Failed as late:  # a case may wait for ever; the ones before it were told
        output, errors = late.stdout, str(late).partition("\n")[0]
    results = re.findall(r"^(not ok|ok) \d+ (.*?)(?: #.*)?$", output, re.MULTILINE)
    passed = [name for result, name in results if result == "ok"]
    failed = [name for result, name in results if result != "ok"]
    return passed, failed, output + errors


def binary(version):
    return CACHE / f"geth-v{version}" / "geth"


@lru_cache
def datadir_of(version, chain, imported, scheme):
    """A datadir that nobody runs on, made once per machine. Copy it."""
    digest = hashlib.sha256(chain.genesis.read_bytes() + chain.blocks.read_bytes()).hexdigest()[:12]
    kept = CACHE / "datadirs" / f"{version}-{chain.name if imported else 'empty'}-{scheme}-{digest}"
    if not kept.exists():
        part = kept.with_name(f"{kept.name}.{os.getpid()}")
        part.parent.mkdir(parents=True, exist_ok=True)
        run([binary(version), "init", "--datadir", part, "--state.scheme", scheme, chain.genesis], 60, check=True)
        if imported:
            print(f"   importing {chain.head} blocks into geth {version} ({scheme}), once ..", flush=True)
            run([binary(version), "import", "--datadir", part, "--nocompaction", chain.blocks], 400, check=True)
        try:
            part.rename(kept)
        except OSError:  # somebody else was faster
            shutil.rmtree(part)
    return kept


# Whatever proxy the environment names is not for loopback.
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _post(url, request, headers=()):
    data = json.dumps(request).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **dict(headers)})
    with _LOOPBACK.open(asked, timeout=30) as answer:
        result = json.load(answer)
    if "error" in result:
        raise Failed(f"{request['method']}: {result['error']}")
    return result["result"]
