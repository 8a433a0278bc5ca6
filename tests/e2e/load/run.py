"""A thousand build.start events over twenty tenants in a minute, some of them twice: what becomes of them, as a table.

`make load` runs this on the test cluster, as root on its machine. Events go to the product's Broker, as a user's would,
and what has no receipt on its Function a while later is sent again and counted. What was built is asked of the
registry, what was doubled and how many Jobs lived at once of the API server's audit log, the memory of the kernel.
"""

import os
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import urllib3

sys.path.insert(0, str(Path(__file__).parents[2]))

from support import audit, ledger, machine
from support.ledger import Ledger, Sent

from knative_lambda.deploy.cluster import BUILD
from knative_lambda.deploy.kubernetes import KubernetesCluster
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError

STARTS = int(os.environ.get("LOAD_STARTS", "1000"))
SECONDS = float(os.environ.get("LOAD_SECONDS", "60"))
"""The events are spread evenly over so many seconds."""
LIMIT = float(os.environ.get("LOAD_LIMIT", "5400"))
"""Seconds within which all must be built."""
TENANTS = os.environ["TENANTS"].split()
TWICE = 0.1
"""The share of events that is sent twice, the second time up to 10 s later."""
AT_ONCE = int(os.environ["AT_ONCE"])
PATIENCE = 300.0
"""Seconds without a receipt after which an event is sent again: a Broker that has a thousand of them is no lost one."""
TOLD_EVERY = 15.0
"""Seconds between two looks, which cost the API server two listings a tenant."""
MIB = 1024 * 1024


@dataclass
class Memory:
    """The receiver's memory, sampled until told to stop."""

    cluster: KubernetesCluster
    samples: list[tuple[float, list[int]]] = field(default_factory=list)
    """Seconds since the start, and the bytes of each pod."""
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        start = time.monotonic()
        while not self.stopped.wait(2):
            with suppress(ProductError):
                running = machine.receivers(self.cluster).values()
                self.samples.append((time.monotonic() - start, [machine.weight(pid) for pid in running]))

    def minutes(self) -> list[tuple[int, int, float, float]]:
        """Return for each minute: how many pods there were at most, and the MiB of the heaviest and of all together."""
        by_minute: dict[int, list[list[int]]] = defaultdict(list)
        for at, pods in self.samples:
            if pods:
                by_minute[int(at // 60)].append(pods)
        return [
            (minute, max(map(len, found)), max(map(max, found)) / MIB, max(map(sum, found)) / MIB)
            for minute, found in sorted(by_minute.items())
        ]


def send(book: Ledger) -> int:
    """Send everything at its moment; return how many events were sent a second time on purpose, and taken."""
    moments = [(n * SECONDS / STARTS, n) for n in range(STARTS)]
    chosen = random.sample(range(STARTS), int(STARTS * TWICE))
    moments += [(n * SECONDS / STARTS + random.uniform(0.01, 10), n) for n in chosen]  # noqa: S311 (no secret)
    start = time.monotonic()
    events: dict[int, Sent] = {}
    with ThreadPoolExecutor(32) as threads:
        for at, n in sorted(moments):
            time.sleep(max(0.0, start + at - time.monotonic()))
            if n not in events:
                tenant, name = TENANTS[n % len(TENANTS)], f"load-{n // len(TENANTS):03}"
                code = f"def handle(event, context):\n    return {{'n': {n}, 'at': {start}}}\n"
                data = {"runtime": "python", "source": {"inline": {"main.py": code}}, "builder": "kaniko"}
                events[n] = book.note(tenant, name, str(n), data)
            threads.submit(book.post, events[n])
    return sum(event.taken > 1 for event in events.values())


def progress(cluster: KubernetesCluster, book: Ledger) -> tuple[int, Counter[str]]:
    """Return how many receipts there are, and how many Builds in each phase; sends again what has no receipt."""
    functions = ledger.functions(cluster, *TENANTS)
    received = sum(ledger.receipt(functions.get(place)) == event.id for place, event in book.newest().items())
    phases: Counter[str] = Counter()
    for tenant in TENANTS:
        phases.update(build.get("status", {}).get("phase", "Queued") for build in cluster.list(BUILD, tenant))
    return received, phases


def images(registry: str) -> set[tuple[str, str]]:
    """Return the functions that the registry has an image of."""
    http = urllib3.PoolManager(maxsize=8)
    found = set()
    for tenant in TENANTS:
        for n in range(-(-STARTS // len(TENANTS))):
            name = f"load-{n:03}"
            answer = http.request("GET", f"http://{registry}/v2/{tenant}/{name}/tags/list")
            if answer.status == 200 and answer.json().get("tags"):
                found.add((tenant, name))
    return found


def waits(jobs: list[audit.Job], book: Ledger) -> dict[str, list[float]]:
    """Return for each tenant the seconds from the sending of each start to the creation of its Job."""
    sent = {place: datetime.fromisoformat(event.time) for place, event in book.newest().items()}
    found: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        place = (job.namespace.removesuffix("-builds"), job.build.rpartition("-")[0])
        if place in sent:
            found[place[0]].append((job.start - sent[place]).total_seconds())
    return found


def say(text: str) -> None:
    print(f"    {datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)


def table(rows: dict[str, Any]) -> str:
    return "\n".join(
        ["| what | measured |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows.items())]
    )


def main() -> int:
    cluster = KubernetesCluster()
    book = Ledger(f"{os.environ['BROKER_INGRESS']}/knative-lambda/default", PATIENCE)
    log = audit.Audit(datetime.now(UTC))
    memory = Memory(cluster)
    threading.Thread(target=memory.run, daemon=True).start()
    start = time.monotonic()
    say(f"==> {STARTS} starts over {len(TENANTS)} tenants in {SECONDS:.0f} s")
    twice = send(book)
    taken = time.monotonic() - start
    say(f"sent, each taken by the Broker, after {taken:.0f} s")
    again, all_received = 0, 0.0
    while time.monotonic() < start + LIMIT:
        with suppress(ProductError):
            received, phases = progress(cluster, book)
            if received == STARTS and not all_received:
                all_received = time.monotonic() - start
            if received < STARTS:
                again += book.send_again(ledger.functions(cluster, *TENANTS), start + taken)
            if received == STARTS and phases["Succeeded"] + phases["Failed"] >= STARTS:
                break
            say(f"{time.monotonic() - start:5.0f} s: {received} receipts, Builds {dict(phases)}")
        time.sleep(TOLD_EVERY)
    drained = time.monotonic() - start
    memory.stopped.set()

    jobs = log.jobs(*map(names.builds_namespace, TENANTS))
    built = images(os.environ["REGISTRY"])
    lost = sorted(set(book.newest()) - built)
    made = Counter((request.namespace, request.name.rpartition("-")[0]) for request in log.made("builds", TENANTS))
    doubled = audit.doubled(jobs, set()) + [f"{place} has {n} Builds" for place, n in made.items() if n > 1]
    waited = waits(jobs, book)
    means = sorted(mean(found) for found in waited.values())
    for what in [*map(str, lost[:20]), *doubled[:20]]:
        say(f"lost or doubled: {what}")
    rows = {
        "build.start events, over tenants": f"{STARTS}, {len(TENANTS)}",
        "sent within, to the Broker": f"{taken:.0f} s",
        "sent twice on purpose": twice,
        "accepted: a receipt on the Function": f"{received}, the last after {all_received:.0f} s",
        "sent again for want of a receipt": again,
        "built: an image in the registry": len(built),
        "lost": len(lost),
        "doubled: two Builds of one start, or a Job twice": len(doubled),
        "all built after": f"{drained:.0f} s, {len(jobs) / drained:.2f} Jobs/s",
        "most Jobs at once, of": f"{audit.most_at_once(jobs)}, {AT_ONCE}",
        "mean wait for a Job, of the tenant that waited least and most": f"{means[0]:.0f} s, {means[-1]:.0f} s",
        "fairness, max/min of these": f"{means[-1] / means[0]:.2f}",
        "longest wait of one start": f"{max(map(max, waited.values())):.0f} s",
        "Knative Services": os.environ.get("LOAD_SERVICES", ""),
    }
    print(table(rows))
    print("\n| minute | receiver pods | heaviest, MiB | all, MiB |\n| --- | --- | --- | --- |")
    for minute, pods, heaviest, together in memory.minutes():
        print(f"| {minute} | {pods} | {heaviest:.0f} | {together:.0f} |")
    return int(bool(lost or doubled) or audit.most_at_once(jobs) > AT_ONCE)


if __name__ == "__main__":
    sys.exit(main())
