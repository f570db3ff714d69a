"""A viewer in a process of its own that is pushed a growing scan by Tiled (for views).

Run as ``python -m benchmarks.tiled_viewer URI``, with the key in ``TILED_API_KEY``. Prints a line
when it is connected; subscribes to the axis's column of the newest run and fetches what each update
points to; prints when it had how many rows as JSON when its input is closed.
"""

import json
import os
import sys
import threading
import time
from typing import Any

__all__ = ["follow"]

COLUMN = "energy"


def follow(client: Any, ended: threading.Event) -> list[tuple[float, int]]:
    """Return when (POSIX s) so many rows were here, until the end is told."""
    from glidepath.catalog import CatalogError, load_run

    looks: list[tuple[float, int]] = []
    node = None
    while node is None and not ended.wait(0.1):
        try:
            node = load_run(client, -1)["primary"].base[COLUMN]
        except (CatalogError, KeyError):
            continue  # not there yet
    if node is None:
        return looks

    # Kept by name: the subscription holds callbacks weakly.
    def take(update: Any) -> None:
        update.data()
        looks.append((time.time(), int(update.shape[0])))

    subscription = node.subscribe()
    subscription.new_data.add_callback(take)
    subscription.start_in_thread(0)
    ended.wait()
    subscription.disconnect()
    return looks


def main() -> None:
    """Follow the run of the server that the command line names."""
    from glidepath.catalog import open_catalog

    client = open_catalog(sys.argv[1], os.environ["TILED_API_KEY"])
    print("connected", flush=True)
    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    json.dump(follow(client, ended), sys.stdout)


if __name__ == "__main__":
    main()
