"""SIGKILL between two effects, on the real cluster: sent again, the event ends as if nothing had happened.

`tests/faults` kills before and after every effect, over fakes. Here it is every third, but the process, its end and all
that it speaks to are real: the receiver's own parts, joined in a process beside the cluster that kills itself.
"""

import json
import math
import signal
import subprocess
import sys
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support import audit
from support.audit import Audit
from support.live import TENANT, Live, within

from knative_lambda.deploy.cluster import BUILD, JOB, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER
from knative_lambda.schemas import names, types

KILLED = Path(__file__).parents[1] / "support" / "killed.py"
BUILDS = names.builds_namespace(TENANT)
EVERY = 3


def event(kind: str, name: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/e2e",
        "type": kind,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {"tenant": TENANT, "name": name, **data},
    }


def start(name: str) -> dict[str, Any]:
    source = {"inline": {"main.py": f"def handle(event, context):\n    return {{'name': {name!r}}}\n"}}
    triggers = [{"type": f"e2e.{name}"}]
    return event(types.BUILD_START, name, runtime="python", source=source, triggers=triggers, builder="kaniko")


def handle(said: Mapping[str, Any], settings: Mapping[str, str], *where: str) -> subprocess.CompletedProcess[str]:
    """Handle an event in a process of its own, which kills itself ``before`` or ``after`` an effect if told so."""
    command = [sys.executable, str(KILLED), *where]
    return subprocess.run(
        command, input=json.dumps(said), env=dict(settings), capture_output=True, text=True, check=False, timeout=120
    )


def killed_at(sent: Mapping[int, Mapping[str, Any]], settings: Mapping[str, str]) -> int:
    """Handle each event in a process that dies at the effect of its number, before it or after it by turns.

    Return how many died: the cluster's own receiver hears of what was begun, and may have done the rest by then.
    """

    def die(number: int) -> bool:
        side = "before" if number // EVERY % 2 else "after"
        done = handle(sent[number], settings, side, str(number))
        assert done.returncode in (0, -signal.SIGKILL), f"{side} effect {number}: {done.stdout}{done.stderr}"
        return done.returncode != 0

    with ThreadPoolExecutor(2) as threads:
        return sum(threads.map(die, sent))


def send_again(live: Live, sent: Mapping[int, Mapping[str, Any]]) -> None:
    for said in sent.values():
        live.command(said["type"], said["data"], id=said["id"], source=said["source"], time=said["time"])


def picture(live: Live, name: str) -> dict[str, Any]:
    """Return what there is of a function, its own name taken out."""
    function = live.function(name) or {}
    of = {names.FUNCTION_LABEL: name}
    builds = live.cluster.list(BUILD, TENANT, of)
    triggers = live.cluster.list(TRIGGER, TENANT, of)
    found: dict[str, Any] = {
        "conditions": [(c["type"], c["status"], c["reason"]) for c in function.get("status", {}).get("conditions", [])],
        "builds": [(build["status"]["phase"], build["status"]["attempt"]) for build in builds],
        "jobs": len(live.cluster.list(JOB, BUILDS, of)),
        "services": [
            s["spec"]["template"]["spec"]["timeoutSeconds"] for s in live.cluster.list(KNATIVE_SERVICE, TENANT, of)
        ],
        "accounts": len(live.cluster.list(SERVICE_ACCOUNT, TENANT, of)),
        "triggers": [trigger["spec"]["filter"]["attributes"]["type"].removesuffix(name) for trigger in triggers],
    }
    return found


def test_a_start_and_a_delete_killed_at_an_effect_and_sent_again_end_as_if_undisturbed(
    live: Live, settings: dict[str, str]
) -> None:
    log = Audit(datetime.now(UTC))
    undisturbed = handle(start("killed-never"), settings)
    assert undisturbed.returncode == 0, undisturbed.stderr
    effects = undisturbed.stdout.splitlines()
    starts = {number: start(f"killed-{number}") for number in range(0, len(effects), EVERY)}
    assert killed_at(starts, settings) >= len(starts) // 2
    send_again(live, starts)
    functions = ["killed-never", *(said["data"]["name"] for said in starts.values())]
    for name in functions:
        live.ready(name, seconds=240)
    within(60, "each is as the undisturbed", lambda: alike(live, functions), every=1)
    jobs = [job for job in log.jobs(BUILDS) if job.build.rpartition("-")[0] in functions]
    assert len(jobs) == len(functions)
    assert not audit.doubled(jobs, set())

    undisturbed = handle(event(types.FUNCTION_DELETE, "killed-never"), settings)
    assert undisturbed.returncode == 0, undisturbed.stderr
    effects = undisturbed.stdout.splitlines()
    numbers = range(0, len(effects), max(EVERY, math.ceil(len(effects) / len(functions[1:]))))
    victims = dict(zip(numbers, functions[1:], strict=False))
    assert len(victims) == len(numbers) > 1
    deletes = {number: event(types.FUNCTION_DELETE, name) for number, name in victims.items()}
    assert killed_at(deletes, settings) >= len(deletes) // 2
    send_again(live, deletes)
    for name in {*functions[1:]} - {*victims.values()}:
        live.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": name})
    within(120, "nothing is left", lambda: not [left for name in functions for left in live.left_of(name)], every=1)


def alike(live: Live, functions: list[str]) -> bool:
    first, *others = [picture(live, name) for name in functions]
    return all(other == first for other in others)
