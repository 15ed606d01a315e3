#!/usr/bin/env python3
"""A follower syncs a real chain from a server that is stopped (SIGSTOP) for 3 s; then the traces are asked.
    python3 tests/terminal/paused_server.py PATH/TO/trunkline [FOLDER/OF/CHAIN]
Exit 0 when the follower's file alone names the silent peer, the server's file that it did not run, and both
together where it stood. Skips, loudly, without the chain (genesis.json, chain.rlp.gz; 20,000 blocks)."""
import json, os, signal, subprocess, sys, tempfile, threading, time

PAUSE = 3.0
BLOCKS = "20000"
HERE = os.path.dirname(os.path.abspath(__file__))


def events(process):
    for line in process.stdout:
        yield json.loads(line)


class Nodes:
    """What was started, ended with the block; nothing outlives it."""

    def __enter__(self):
        self.processes = []
        return self

    def start(self, *options):
        command = [sys.argv[1], "node", *options, "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        # Whatever goes wrong, the test ends.
        watchdog = threading.Timer(120, process.kill)
        watchdog.daemon = True
        watchdog.start()
        return process

    def __exit__(self, *_):
        for process in self.processes:
            if process.poll() is None:
                # A stopped process takes no other signal.
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.processes:
            process.stdout.close()
            process.wait()


def run(chain, folder):
    """One sync. Whether it was still going on when the server was stopped."""
    genesis, server_file, follower_file = (os.path.join(chain, "genesis.json"), os.path.join(folder, "server.jsonl"),
                                           os.path.join(folder, "follower.jsonl"))
    with Nodes() as nodes:
        server = nodes.start("--chain", genesis, "--import", os.path.join(chain, "chain.rlp.gz"),
                             "--listen", "/ip4/127.0.0.1/tcp/0", "--trace-file", server_file)
        addr = next(event["addr"] for event in events(server) if event["event"] == "listening")
        follower = nodes.start("--chain", genesis, "--connect", addr, "--trace-file", follower_file,
                               "--until-block", BLOCKS, "--timeout", "60s")
        end, stopped = None, False
        for event in events(follower):
            if event["event"] == "progress" and not stopped and event["bodies"] < int(BLOCKS):
                os.kill(server.pid, signal.SIGSTOP)
                time.sleep(PAUSE)
                os.kill(server.pid, signal.SIGCONT)
                stopped = True
            end = event
        assert follower.wait() == 0 and end and end["event"] == "end", f"the follower: {end}"
        assert end["orphans"] == 0, end
        server.terminate()
        assert server.wait() == 0, "the server"
    return stopped and end["ms"] >= PAUSE * 1000


def stuck(folder, *names):
    """The findings of these files, by file."""
    command = [sys.argv[1], "trace", "stuck", "--json", *(os.path.join(folder, name) for name in names)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 1, f"exit {result.returncode}, but something was stuck: {result.stderr}"
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [line for line in lines if line["event"] == "stuck"]


def about_the_pause(ns):
    return PAUSE - 0.2 < ns / 1e9 < PAUSE + 2


def of(findings, cause):
    found = [finding for finding in findings if finding["cause"] == cause]
    assert found, f"no {cause} in {json.dumps(findings, indent=1)}"
    return max(found, key=lambda finding: finding["duration_ns"])


def check(folder):
    alone = stuck(folder, "follower.jsonl")
    silent = of(alone, "peer_not_answering")
    assert about_the_pause(silent["duration_ns"]), silent
    assert 0 < silent["last_byte_ns"] <= silent["from_ns"] and silent["peer"] and not silent["now"], silent
    assert "was not answering for" in silent["sentence"] and "last byte then at" in silent["sentence"], silent
    assert silent["request"]["proto"] == "eth" and silent["requests_total"] >= 1, silent
    blamed = {finding["cause"] for finding in alone}
    assert blamed <= {"peer_not_answering", "late_answer"}, f"somebody else is blamed: {blamed}"

    both = stuck(folder, "follower.jsonl", "server.jsonl")
    follower = [finding for finding in both if finding["file"].endswith("follower.jsonl")]
    other = of(follower, "peer_not_answering").get("other_side") or ""
    assert "its process did not run for" in other, f"where it stood is not said: {other!r}"
    server = [finding for finding in both if finding["file"].endswith("server.jsonl")]
    stopped = of(server, "stalled_thread")
    assert about_the_pause(stopped["duration_ns"]) and "this process did not run for" in stopped["sentence"], stopped
    blamed = {finding["cause"] for finding in server}
    assert blamed == {"stalled_thread"}, f"the server blames {blamed}"
    print(f"  follower alone: {silent['sentence']}")
    print(f"  with the server's file: {other}")
    print(f"  the server: {stopped['sentence']}")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    chain = sys.argv[2] if len(sys.argv) > 2 else os.path.join(HERE, "..", "..", "..", "shared", "data", "long")
    if not os.path.exists(os.path.join(chain, "chain.rlp.gz")):
        print(f"SKIPPED: the paused server (no chain at {os.path.normpath(chain)})")
        return
    for _ in range(3):
        with tempfile.TemporaryDirectory(prefix="trunkline-paused-") as folder:
            if run(chain, folder):
                check(folder)
                print("a paused server is told by both sides")
                return
        print("  the sync was over before the server was stopped; again")
    sys.exit("three times the sync was over before the server was stopped")


main()
