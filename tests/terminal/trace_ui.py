#!/usr/bin/env python3
"""Runs `trunkline node --trace-ui` in a pseudo terminal, types, and looks at what is left behind.
    python3 tests/terminal/trace_ui.py PATH/TO/trunkline
Exit 0 when the terminal is as it was each time."""
import fcntl, os, pty, re, select, signal, struct, subprocess, sys, termios, time

ENTER, LEAVE, SHOW = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A node that has a terminal of its own."""

    def __init__(self, *options, stderr=None):
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        command = [sys.argv[1], "node", "--trace-ui", *options]
        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=stderr or self.slave,
                                        start_new_session=True)
        self.seen = b""

    def read(self, secs=0.05):
        while select.select([self.master], [], [], secs)[0]:
            self.seen += os.read(self.master, 65536)
            secs = 0.02

    def screen(self):
        """What a terminal shows: only the cells that change are written."""
        text = self.seen.decode("utf-8", "replace")
        text = text[max(text.rfind(ENTER.decode()), text.rfind("\x1b[2J"), 0):]
        cells, row, column = {}, 1, 1
        for piece in re.finditer(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b.|(.)", text, re.S):
            if piece[2] == "H":
                row, column = (int(n or 1) for n in (piece[1] + ";").split(";")[:2])
            elif piece[3]:
                cells[row, column], column = piece[3], column + 1
        line = lambda row: "".join(cells.get((row, column), " ") for column in range(1, 121)).rstrip()
        return "\n".join(line(row) for row in range(1, 31))

    def until(self, what, secs=20):
        """Waits until the screen shows this."""
        end = time.monotonic() + secs
        while what not in self.screen():
            assert time.monotonic() < end, f"no {what!r} within {secs} s, only\n{self.screen()}"
            self.read()

    def type(self, keys):
        os.write(self.master, keys)

    def end(self, code, secs=15):
        end = time.monotonic() + secs
        while self.process.poll() is None:
            assert time.monotonic() < end, f"still there after {secs} s: {self.seen[-400:]!r}"
            self.read()
        self.read(0.2)
        assert self.process.returncode == code, f"exit {self.process.returncode}: {self.seen[-400:]!r}"
        self.restored()

    def restored(self):
        left = self.seen.rindex(LEAVE)
        assert ENTER not in self.seen[left:], "the alternate screen was entered again"
        assert self.seen.rindex(SHOW) > self.seen.rfind(b"\x1b[?25l"), "the cursor is hidden"
        assert termios.tcgetattr(self.slave) == self.before, "the terminal's modes have changed"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        os.close(self.master), os.close(self.slave)


def quits():
    with Terminal("--ttl", "60s") as t:
        t.until("1 requests")
        for key, shown in ((b"2", "doing"), (b"3", "last byte"), (b"\t", "protocol"), (b"/", "enter use")):
            t.type(key), t.until(shown)
        t.type(b"kind=abc\r"), t.until("filter: kind=abc"), t.type(b"p"), t.until("paused"), t.type(b"\x1b[B\r"), t.type(b"q")
        t.end(0)
        assert b"end " in t.seen[t.seen.rindex(LEAVE):], "the last line is missing"


def interrupted():
    with Terminal("--ttl", "60s") as t:
        t.until("1 requests"), t.type(b"\x03"), t.end(0)


def its_time_is_over():
    with Terminal("--ttl", "1s") as t:
        t.until("1 requests"), t.end(0)


def told_to_end():
    with Terminal("--ttl", "60s") as t:
        t.until("1 requests"), t.process.send_signal(signal.SIGTERM), t.end(0)


def told_twice():
    with Terminal("--ttl", "60s") as t:
        t.until("1 requests")
        t.process.send_signal(signal.SIGTERM), t.process.send_signal(signal.SIGINT)
        t.end(t.process.wait(10))


def the_terminal_goes_away():
    t = Terminal("--ttl", "60s", stderr=subprocess.DEVNULL)
    t.until("1 requests")
    os.close(t.slave), os.close(t.master)
    try:
        assert t.process.wait(10) == 1, t.process.returncode
    finally:
        t.process.kill()


def not_a_terminal():
    for options in (["--json"], []):
        done = subprocess.run([sys.argv[1], "node", "--trace-ui", "--ttl", "1s", *options], capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=20)
        assert done.returncode == 2 and done.stdout == b"" and done.stderr.count(b"\n") == 1, done


for check in (quits, interrupted, its_time_is_over, told_to_end, told_twice, the_terminal_goes_away, not_a_terminal):
    check()
    print("ok", check.__name__)
