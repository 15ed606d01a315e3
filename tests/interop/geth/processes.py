"""Child processes whose lines are read as they come, and which cannot outlive the test."""
import ctypes, json, os, re, signal, subprocess, threading, time


class Failed(Exception):
    """A check did not see what it wants; the text says what it saw."""


class Skipped(Exception):
    """A check cannot be run here; the text says what is absent."""


def need(holds, why):
    if not holds:
        raise Failed(why)


def eventually(what, probe, secs, every=0.03):
    """The first true answer of `probe`. Until then its failures count as no answer."""
    end, last = time.monotonic() + secs, None
    while time.monotonic() < end:
        try:
            last = probe()
        except OSError as error:
            last = error
        if last and not isinstance(last, OSError):
            return last
        time.sleep(every)
    raise Failed(f"not within {secs} s: {what} (last answer {last!r})")


def end_with_parent():
    """Linux ends the child when the thread that started it ends, however that comes about."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):
        pass


class Process:
    """One child. Lines of both outputs are kept with the time they were read."""

    def __init__(self, name, command, watchdog=600, env=None):
        self.name, self.command = name, [str(part) for part in command]
        self.changed, self.out, self.err = threading.Condition(), [], []
        self.started = time.monotonic()
        self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, errors="replace", env=env,
                                      preexec_fn=end_with_parent)
        self.pid = self.child.pid
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.child.stdout, self.out), (self.child.stderr, self.err))]
        for reader in self.readers:
            reader.start()
        self.watchdog = threading.Timer(watchdog, self.child.kill)
        self.watchdog.daemon = True
        self.watchdog.start()

    def _read(self, stream, lines):
        for line in stream:
            with self.changed:
                lines.append((time.monotonic(), self.parse(line.rstrip("\n"), stream is self.child.stdout)))
                self.changed.notify_all()
        with self.changed:
            self.changed.notify_all()

    def parse(self, line, _is_stdout):
        return line

    def running(self):
        return self.child.poll() is None

    def wait_for(self, what, lines, matches, secs, after=0.0):
        """The first `(time, line)` that matches and was read after that time; fails early when the child ends."""
        end, seen = time.monotonic() + secs, 0
        with self.changed:
            while True:
                while seen < len(lines):
                    at, line = lines[seen]
                    seen += 1
                    if at >= after and matches(line):
                        return at, line
                over = not self.running() and not any(reader.is_alive() for reader in self.readers)
                left = end - time.monotonic()
                if over or left <= 0:
                    how = f"it ended with {self.child.returncode}" if over else f"not within {secs} s"
                    raise Failed(f"{self.name}: no {what}: {how}")
                self.changed.wait(min(left, 0.1))

    def exit_code(self, secs):
        """Waits for its own end."""
        try:
            self.child.wait(secs)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {secs} s") from None
        self._finish()
        return self.child.returncode

    def stop(self, with_signal=signal.SIGINT, secs=20):
        """Ends it, if need be by force. The exit code, which is negative for a signal."""
        if self.running():
            self.child.send_signal(with_signal)
            try:
                self.child.wait(secs)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self._finish()
        return self.child.returncode

    def kill(self):
        """kill -9. The time it was sent."""
        at = time.monotonic()
        self.child.kill()
        self.child.wait()
        self._finish()
        return at

    def _finish(self):
        self.watchdog.cancel()
        for reader in self.readers:
            reader.join(2)

    def cpu_seconds(self):
        """Processor time so far, of all threads."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def last_words(self, count=8):
        """What a failed check shows."""
        state = "running" if self.running() else f"ended with {self.child.returncode}"
        lines = [f"-- {self.name} ({state}): {_short(' '.join(self.command))[:600]}"]
        for label, kept in (("out", self.out), ("err", self.err)):
            for at, line in kept[-count:]:
                text = line if isinstance(line, str) else json.dumps(line)
                lines.append(f"   {label} +{at - self.started:6.2f} s  {_short(text)[:300]}")
        return "\n".join(lines)


def _short(text):
    """Without the bulk of keys."""
    return re.sub(r"[0-9a-f]{80,}", lambda key: f"{key.group(0)[:8]}..{key.group(0)[-4:]}", text)
