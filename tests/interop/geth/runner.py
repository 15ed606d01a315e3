"""Runs checks one after the other: a line for each, and the exit code that says whether all of them held."""
import inspect, signal, sys, time, traceback
from processes import Failed, Skipped


def one(check, full):
    """Runs a check. Whether it held; nothing when there was no way to run it."""
    name, start = check.__name__, time.monotonic()
    try:
        figures = check(full) if "full" in inspect.signature(check).parameters else check()
    except Skipped as absent:
        print(f"SKIPPED {name}: {absent}", flush=True)
        return None
    except Exception as error:  # any end of a check but the good one is a failure of it
        print(f"FAIL {name}: {error if isinstance(error, Failed) else traceback.format_exc()}", flush=True)
        print(getattr(error, "seen", ""), flush=True)
        return False
    print(f"ok {name} ({figures}) [{time.monotonic() - start:.1f} s]", flush=True)
    return True


def run_all(checks, full):
    """The exit code: 0 only when at least one was run and all of those held."""
    # An end from outside goes the way of an exception, so that the children end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start = time.monotonic()
    held = [one(check, full) for check in checks]
    failures, skipped = held.count(False), held.count(None)
    print(f"{held.count(True)} passed, {failures} failed{f', {skipped} skipped' if skipped else ''}, "
          f"in {time.monotonic() - start:.0f} s")
    return 1 if failures or not held else 0
