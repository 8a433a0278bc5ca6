"""The whole run: what was asked for is measured, told while it happens, and left as a table, data and plots.

`run.sh` calls this on a cluster with the product on it. Takes RUNS (5), ONLY (rows), OUT (a folder).
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import page, plot, table
from bench.measure import PARTS, measure
from bench.place import Place
from bench.plan import BY_KEY, choose

START = time.monotonic()


def say(text: str) -> None:
    """Tell who waits."""
    print(f"    {time.monotonic() - START:5.0f} s  {text}", file=sys.stderr, flush=True)


def commit() -> str:
    """Return the commit that is measured, with a mark where files differ from it."""
    asked = ["git", "describe", "--always", "--abbrev=12", "--dirty=-changed", "--exclude=*"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def leave(values: dict[str, dict[int, float]], runs: int, out: Path) -> None:
    """Print the table, and write it with the data and the pictures into the folder."""
    about = f"Commit {commit()}, {datetime.now(UTC):%Y-%m-%d}, {runs} runs, {os.cpu_count()} cores."
    text = f"{about}\n\n{table.render(values)}"
    print(text, flush=True)
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.md").write_text(text + "\n")
    (out / "values.json").write_text(json.dumps({"about": about, "values": values}, indent=1) + "\n")
    page.write(out, text, plot.draw(values, out))


def main() -> int:
    """Run; return 0 where every chosen row was measured."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runs, out = int(os.environ.get("RUNS", "5")), Path(os.environ["OUT"])
    chosen = choose(os.environ.get("ONLY", ""))
    values: dict[str, dict[int, float]] = {}
    try:
        with contextlib.closing(Place(os.environ["BROKER_INGRESS"], say)) as place:
            measure(PARTS, place, runs, chosen, values)
    finally:  # who stops it gets what was measured until then
        leave(values, runs, out)
    missing = [key for key in chosen if key not in values and key != "speed.func"]
    for key in sorted(missing):
        say(f"not measured: {BY_KEY[key].text}")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
