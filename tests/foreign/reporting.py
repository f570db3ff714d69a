"""What the programs of this folder share: each tries foreign classes and prints a line for each."""

import json
import sys
import traceback


def report(name, trial, *arguments):
    """Try a class; print what came of it as one line of JSON."""
    try:
        found = trial(*arguments)
        line = {"class": name, "ok": True, "found": found}
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        line = {"class": name, "ok": False, "found": f"{type(error).__name__}: {error}"}
    print(json.dumps(line), flush=True)


def rows_of(engine, plan, *keys):
    """Run a plan; return what its events say under some keys, one list for each event."""
    events = []

    def note(_, event):
        events.append([event["data"].get(key) for key in keys])

    engine(plan, {"event": [note]})
    return events
