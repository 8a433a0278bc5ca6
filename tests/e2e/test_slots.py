"""Eight starts at once on a real cluster: no more Jobs at a time than there are slots, and nobody jumps the queue."""

from datetime import UTC, datetime

import pytest
from support import audit
from support.audit import Audit
from support.live import TENANT, Live, within

from knative_lambda.builds import record
from knative_lambda.deploy.cluster import JOB, LEASE
from knative_lambda.schemas import names, types

SLOTS = 5
"""Of one tenant, as the chart has it."""
BUILDS = names.builds_namespace(TENANT)
FUNCTIONS = [f"queue-{n}" for n in range(8)]


def stands(live: Live, name: str) -> bool:
    """Say whether a function's build has been given its Job, or its place in the queue."""
    builds = live.builds(name)
    jobs = [live.cluster.list(JOB, BUILDS, {names.BUILD_LABEL: build["metadata"]["name"]}) for build in builds]
    return any(jobs) or any(map(record.waits, builds))


@pytest.mark.long
def test_eight_starts_at_once_run_no_more_jobs_than_slots_and_in_order(live: Live) -> None:
    log = Audit(datetime.now(UTC))
    for name in FUNCTIONS:
        live.start(name, runtime="dockerfile", source=live.slow(10))
        within(60, f"{name} has a slot or waits for one", lambda name=name: stands(live, name), every=0.05)

    def all_built() -> bool:
        return all(live.condition(name, "Built").get("status") == "True" for name in FUNCTIONS)

    within(240, "all are built", all_built, every=1)
    jobs = log.jobs(BUILDS)
    assert [job.build.rpartition("-")[0] for job in jobs] == FUNCTIONS, "in the order in which they came"
    assert audit.most_at_once(jobs) == SLOTS
    queued = {event["subject"].rpartition("-")[0] for event in live.told(types.BUILD_QUEUED)}
    queued = {name for name in queued if name.startswith("queue-")}  # other stories have told theirs
    assert {*FUNCTIONS[-2:]} <= queued <= {*FUNCTIONS[SLOTS:]}, "those that had to wait were told so"
    for name in FUNCTIONS:
        live.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": name})
    within(180, "nothing is left", lambda: not [left for name in FUNCTIONS for left in live.left_of(name)], every=2)
    left = [lease for place in (BUILDS, "knative-lambda") for lease in live.cluster.list(LEASE, place)]
    assert not left, "every slot and every ticket was given back"
