"""What people see: words and a table instead of JSON, bars on a terminal, metrics, the trace."""
import fcntl, os, pty, re, select, signal, struct, subprocess, termios, time, urllib.request
from chains import state_root
from geth import NEW, SHORT, eventually, need, run
from processes import end_with_parent
from prototype import Lab

STAGES = ["headers", "bodies", "receipts", "execut"]
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def words(lab, enode, name, *options):
    """The command without --json."""
    return [str(word) for word in (
        lab.prototype_bin, "--genesis", SHORT.genesis, "--datadir", lab.store(name), "--bootnode", enode, "--head",
        SHORT.head_hash, "--until-block", SHORT.head, "--timeout", "60s", *options)]


def terminal(command, secs):
    """Runs it in a pseudo terminal of 120 columns. The exit code and all it wrote."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
    child = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, start_new_session=True, preexec_fn=end_with_parent)
    os.close(its)
    written, end = b"", time.monotonic() + secs
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            written += piece
        return child.wait(5), written.decode(errors="replace")
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            child.wait()
        os.close(ours)


def output():
    """Words when nobody asks for JSON: plain in a pipe, bars per stage with rate and time left on a terminal."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        plain = run(words(lab, geth.enode, "plain"), 60, check=True)
        text = plain.stdout + plain.stderr
        need("\x1b" not in text and "\r" not in text, "terminal codes although it is not a terminal")
        need(SHORT.head_hash[:10] in text and state_root(SHORT)[:10] in text, f"no head or no root in {text[-800:]!r}")
        need("{" not in plain.stdout, "JSON although nobody asked for it")
        code, shown = terminal(words(lab, geth.enode, "shown"), 60)
        need(code == 0, f"exit {code} on a terminal: {shown[-400:]!r}")
        missing = [word for word in [*STAGES, "/s"] if word not in shown.lower()]
        need("\r" in shown and not missing, f"no {missing} in {shown[-800:]!r}")
        code, events = terminal(words(lab, geth.enode, "events", "--json"), 60)
        need(code == 0 and "\x1b" not in events, "terminal codes among the events")
        return f"{len(plain.stdout.splitlines())} lines in a pipe"


def metrics_and_trace():
    """`--metrics` answers over HTTP while it runs; `--trace` leaves what `trunkline trace` can read."""
    with Lab() as lab:
        geth = lab.geth(NEW, SHORT, imported=True)
        trace = lab.home / "trace"
        node = lab.following(SHORT, [geth.enode], "--metrics", "127.0.0.1:0", "--trace", trace)
        node.at_head(SHORT.head, 60)
        said = [event for _, event in node.out if "metrics" in str(event)]
        need(said, f"nobody says where the metrics are: {[event['event'] for _, event in node.out][:6]}")
        port = re.search(r"127\.0\.0\.1:(\d+)|tcp/(\d+)", str(said[0]))
        url = f"http://127.0.0.1:{port.group(1) or port.group(2)}/metrics"

        def answered():
            with _LOOPBACK.open(url, timeout=5) as answer:
                return answer.read().decode()
        text = eventually("metrics", answered, 10)
        samples = [line for line in text.splitlines() if line and not line.startswith("#")]
        need(len(samples) > 10, f"{len(samples)} samples")
        need(node.stop() == 0, f"exit {node.child.returncode}: {node.complaints()}")
        node.keeps_the_contract()
        files = [file for file in trace.rglob("*") if file.is_file() and file.stat().st_size]
        need(files, "no trace was left")
        read = lab.trunkline_run("trace", "stats", files[0])
        need(read.returncode == 0, f"trunkline trace stats: exit {read.returncode}: {read.stderr[-300:]}")
        return f"{len(samples)} samples; {sum(file.stat().st_size for file in files):,} bytes of trace"
