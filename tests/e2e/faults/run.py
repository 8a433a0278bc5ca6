"""Faults on the real cluster, one after the other, while events come; a table of what was lost and what was done twice.

`make e2e-faults` runs this on the test cluster with the product on it, as root on the machine of the cluster. What is
lost or doubled is counted from the sender's own ledger, from what the functions answer, and from the API server's audit
log, never from the product's figures.
"""

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from faults import BUILDS, FAULTS, Done, Strike
from support import audit, ledger
from support.ledger import Ledger, Sent
from support.live import TENANT, Collector, Live

from knative_lambda.deploy.cluster import (
    BUILD,
    FUNCTION,
    JOB,
    KNATIVE_SERVICE,
    LEASE,
    POD,
    SERVICE_ACCOUNT,
    TRIGGER,
    Cluster,
    Object,
)
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import ProductError

STARTS = int(os.environ.get("BUILDS", "50"))
"""Events sent while the receiver is killed; the other faults get a quarter of them."""
OUTAGE = float(os.environ.get("OUTAGE", "120"))
"""Seconds that the store, and the registry, are away."""
PACE = float(os.environ.get("PACE", "1.5"))
"""Seconds between two events."""
HEALING = float(os.environ.get("HEALING", "420"))
"""Seconds after a fault within which everything must be well."""
CHOSEN = [name for name in os.environ.get("FAULTS", "").split(",") if name] or list(FAULTS)
CALL_AGAIN = 4.0
TOLD_EVERY = 10.0
ENDED = ("Succeeded", "Failed", "Cancelled")


@dataclass
class Row:
    """What became of one fault."""

    fault: str
    done: str = ""
    sent: int = 0
    builds: int = 0
    """Builds that the API server has made."""
    again: int = 0
    """Events that were taken with 202, and sent again because no Function bore their receipt."""
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    heal: float = 0.0


def code(version: str) -> dict[str, Any]:
    return {"inline": {"main.py": f"def handle(event, context):\n    return {{'version': {version!r}}}\n"}}


class Story:
    """One fault, from the first event to the last function's removal."""

    def __init__(self, name: str, strike: Strike, starts: int, live: Live) -> None:
        self.row, self.strike, self.starts, self.live = Row(name), strike, starts, live
        self.prefix = f"f{uuid.uuid4().hex[:5]}"
        self.ledger = Ledger(f"{live.ingress}/knative-lambda/default")
        self.cluster: Cluster = live.cluster
        self.answered: dict[str, str] = {}
        self.called: dict[str, float] = {}

    def tell(self) -> Row:
        log = audit.Audit(datetime.now(UTC))
        with ThreadPoolExecutor(2) as threads:
            sending = threads.submit(self.send)
            until = time.monotonic() + self.starts * PACE
            time.sleep(2 * PACE)  # what is under way is struck too
            done: Done = self.strike(self.cluster, until, OUTAGE)
            ended = time.monotonic()
            say(f"the fault is over ({done.said})")
            sending.result()
        self.row.done, self.row.sent = done.said, len(self.ledger.sent)
        ended = max(ended, until)
        told = ended
        while (left := self.unwell()) and time.monotonic() < ended + HEALING:
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                say(f"after {told - ended:.0f} s {len(left)} are not well: {'; '.join(left[:3])}")
            self.row.again += self.ledger.send_again(ledger.functions(self.cluster, TENANT), ended)
            time.sleep(1)
        self.row.heal = time.monotonic() - ended
        newest = self.ledger.newest().values()
        wrong = {event.function for event in newest if self.answered.get(event.function) != event.version}
        self.row.lost = sorted(f"{e.function} {e.version}" for e in newest if e.function in wrong)
        self.row.orphans = [what for what in left if what.partition(" ")[0] not in wrong]
        say("everything is well" if not left else f"not well: {left[:5]}")
        self.row.builds = len(self.made(log))
        jobs = [job for job in log.jobs(BUILDS) if job.name.startswith(self.prefix)]
        self.row.doubled = audit.doubled(jobs, done.struck) + self.too_many(log)
        self.row.orphans += self.remove()
        return self.row

    def send(self) -> None:
        """Send every function two versions, the second while the first may still be being built."""
        order = [(n, version) for n in range(self.starts // 2) for version in ("one", "two")]
        order.sort(key=lambda one: one[0] + (4 if one[1] == "two" else 0))
        for n, version in order:
            name = f"{self.prefix}-{n:02}"
            said = f"{version} {uuid.uuid4().hex[:6]}"
            triggers = [{"type": f"e2e.{name}"}]
            data = {"runtime": "python", "source": code(said), "triggers": triggers, "builder": "kaniko"}
            threading.Thread(target=self.ledger.start, args=(TENANT, name, said, data), daemon=True).start()
            time.sleep(PACE)

    def too_many(self, log: audit.Audit) -> list[str]:
        """Return the functions with more Builds than they were sent versions."""
        made = [name.rpartition("-")[0] for name in self.made(log)]
        sent = [event.function for event in self.ledger.sent]
        return [f"{n} has {made.count(n)} Builds" for n in sorted({*made}) if made.count(n) > sent.count(n)]

    def made(self, log: audit.Audit) -> list[str]:
        """Return the names of the Builds that were made."""
        return [request.name for request in log.made("builds", [TENANT]) if request.name.startswith(self.prefix)]

    def unwell(self) -> list[str]:
        """Return what is not as it should be: versions that do not answer, builds that have not ended, what is left."""
        try:
            return [*self.silent(), *self.unended()]
        except ProductError as error:
            return [f"cluster {error}"]

    def silent(self) -> list[str]:
        """Call every function whose newest version has not answered yet; return those."""
        functions = ledger.functions(self.cluster, TENANT)
        silent = []
        for (_, name), event in self.ledger.newest().items():
            if self.answered.get(name) == event.version:
                continue
            replies = {data["version"] for data in self.live.collector.replies(name)}
            if event.version in replies:
                self.answered[name] = event.version
                continue
            found = functions.get((TENANT, name), {})
            silent.append(f"{name} {event.version}: {[condition(found, k)['reason'] for k in ('Built', 'Ready')]}")
            is_due = time.monotonic() - self.called.get(name, 0) > CALL_AGAIN
            if is_due and condition(found, "Ready")["status"] == "True":
                self.called[name] = time.monotonic()
                self.live.send(TENANT, f"e2e.{name}", {})
        return silent

    def unended(self) -> list[str]:
        """Return the Builds, Jobs' Pods and Leases of these functions that live on."""
        builds = [b for b in self.mine(BUILD, TENANT) if b.get("status", {}).get("phase") not in ENDED]
        pods = [p for p in self.mine(POD, BUILDS) if p["status"].get("phase") in ("Pending", "Running")]
        leases = [lease for place in (BUILDS, "knative-lambda") for lease in self.cluster.list(LEASE, place)]
        return [f"{found['metadata']['name']} {found['kind']}" for found in (*builds, *pods, *leases)]

    def mine(self, kind: Any, namespace: str) -> list[Object]:
        return [
            found for found in self.cluster.list(kind, namespace) if found["metadata"]["name"].startswith(self.prefix)
        ]

    def remove(self) -> list[str]:
        """Delete every function by event; return what is left of them."""
        for _, name in self.ledger.newest():
            event = Sent(TENANT, name, "", {"tenant": TENANT, "name": name}, type=types.FUNCTION_DELETE)
            self.ledger.post(event)
        places = [(kind, TENANT) for kind in (FUNCTION, BUILD, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER)]
        places += [(kind, BUILDS) for kind in (JOB, POD)]
        end = time.monotonic() + 180
        while time.monotonic() < end:
            left = [f"{f['metadata']['name']} {f['kind']}" for kind, place in places for f in self.mine(kind, place)]
            if not left:
                return []
            time.sleep(2)
        return left


def say(text: str) -> None:
    print(f"    {datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def table(rows: list[Row]) -> str:
    """Return the rows as a table in Markdown."""
    columns: dict[str, Callable[[Row], object]] = {
        "fault": lambda row: row.fault,
        "what was done": lambda row: row.done,
        "events sent": lambda row: row.sent,
        "Builds made": lambda row: row.builds,
        "sent again": lambda row: row.again,
        "lost": lambda row: len(row.lost),
        "doubled": lambda row: len(row.doubled),
        "left over": lambda row: len(row.orphans),
        "time to heal": lambda row: f"{row.heal:.0f} s",
    }
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(str(look(row)) for look in columns.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def main() -> int:
    live = Live(Collector())
    trigger = live.collect()
    rows = []
    try:
        for name in CHOSEN:
            starts = STARTS if name == "receiver killed" else max(STARTS // 4, 6)
            say(f"==> {name}")
            story = Story(name, FAULTS[name], starts - starts % 2, live)
            rows.append(row := story.tell())
            if gone := live.forget_the_gone():
                say(f"Knative's channel still had {gone} subscribers that are gone")
            for kind in ("lost", "doubled", "orphans"):
                for what in getattr(row, kind):
                    say(f"{kind}: {what}")
            say(f"healed after {row.heal:.0f} s; lost {len(row.lost)}, doubled {len(row.doubled)}")
    finally:
        live.cluster.delete(*trigger)
        live.collector.close()
    print(table(rows))
    return int(any(row.lost or row.doubled or row.orphans for row in rows))


if __name__ == "__main__":
    sys.exit(main())
