"""Who may come in, on the real cluster: real ServiceAccounts of two tenants, with real tokens, at real rights.

The cluster's own receiver serves `/v1` to tokens, with the rights that the chart gives it. For events, a receiver in
the modes `token` and `hmac` runs beside the cluster: the cluster's own takes what its Brokers bring.
"""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.callers import KEY, NEIGHBOUR, Answer, Beside, event, forget, inside, introduce, kubectl, token
from support.live import TENANT, Live, within
from support.signing import signed

from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.schemas import types

CODE = {"inline": {"main.py": "def handle(event, context):\n    return {'n': 1}\n"}}
ROLE = "knative-lambda-people"
"""What the chart lets a tenant's people do."""


@pytest.fixture(scope="module", autouse=True)
def people(live: Live) -> Iterator[None]:
    introduce(live)
    yield
    forget(live)


class Records:
    """`/v1` of the cluster's own receiver."""

    def __init__(self, live: Live) -> None:
        self.receiver = inside(live, "receiver")

    def get(self, path: str, headers: dict[str, str]) -> Answer:
        return self.receiver.ask("GET", f"/v1/tenants/{path}", headers)


@pytest.fixture
def records(live: Live) -> Records:
    return Records(live)


def test_who_does_not_say_who_they_are_reads_nothing(records: Records) -> None:
    at = f"{TENANT}/functions"
    for headers in (
        {},
        {"authorization": "Bearer a.b.c"},
        token("e2e-alice", "https://kubernetes.default.svc"),
        token("e2e-alice", "another"),
    ):
        assert records.get(at, headers).status == 401
    assert records.get(at, token("e2e-alice")).status == 200


def test_one_reads_what_is_ones_own_tenants_and_learns_nothing_of_others(live: Live, records: Records) -> None:
    name = f"access-{uuid.uuid4().hex[:6]}"
    live.start(name, runtime="python", source=CODE)
    within(60, "it is there", lambda: live.function(name))
    alice, bob = token("e2e-alice"), token("e2e-bob")
    places = [f"{TENANT}/functions", f"{TENANT}/functions/{name}", f"{TENANT}/deadletters"]
    assert [records.get(place, alice).status for place in places] == [200] * 3
    refused = [records.get(place, bob) for place in (*places, f"{TENANT}/functions/none", "no-such/functions")]
    assert refused == [refused[0]] * len(refused)
    assert refused[0].status == 403
    assert records.get(f"{NEIGHBOUR}/functions", bob).status == 200
    live.delete(name)


def test_a_right_counts_once_it_is_given_and_no_longer_once_it_is_taken(live: Live, records: Records) -> None:
    at, carol, place = f"{TENANT}/functions", token("e2e-carol"), ["rolebinding", "e2e-carol", "-n", TENANT]
    kubectl("delete", *place, "--ignore-not-found")  # of a run that was killed
    within(60, "nothing is given", lambda: records.get(at, carol).status == 403, every=1)
    kubectl("create", *place, f"--role={ROLE}", f"--serviceaccount={TENANT}:e2e-carol")
    within(60, "it is given", lambda: records.get(at, carol).status == 200, every=1)
    kubectl("delete", *place)
    within(60, "it is taken", lambda: records.get(at, carol).status == 403, every=1)


@pytest.fixture
def beside(settings: dict[str, str], tmp_path: Path) -> Iterator[Beside]:
    found = Beside(settings, tmp_path)
    yield found
    found.close()


def start(tenant: str, name: str) -> bytes:
    return event(types.BUILD_START, tenant, name, runtime="python", source=CODE)


def test_one_acts_in_ones_own_tenant_and_in_no_other(live: Live, beside: Beside) -> None:
    alice, bob = token("e2e-alice"), token("e2e-bob")
    assert beside.send(start(NEIGHBOUR, "access-token"), alice).status == 403
    assert live.cluster.get(FUNCTION, NEIGHBOUR, "access-token") is None
    assert beside.send(start(TENANT, "access-token"), alice).status == 202
    live.ready("access-token")
    gone = event(types.FUNCTION_DELETE, TENANT, "access-token")
    for headers, status in (({}, 401), (token("e2e-alice", "another"), 401), (bob, 403), (token("e2e-carol"), 403)):
        assert beside.send(gone, headers).status == status
    assert live.function("access-token")
    assert beside.send(gone, alice).status == 202
    within(120, "nothing is left of it", lambda: not live.left_of("access-token"), every=1)


def test_a_signed_event_is_taken_once_and_for_the_keys_tenants(live: Live, beside: Beside) -> None:
    """The API server keeps what was taken."""

    def sign(body: bytes) -> dict[str, str]:
        return signed(body, datetime.now(UTC).timestamp(), KEY, identifier=uuid.uuid4().hex)

    other = start(NEIGHBOUR, "access-signed")
    assert beside.send(other, sign(other)).status == 403
    body = start(TENANT, "access-signed")
    once = sign(body)
    assert beside.send(body + b" ", once).status == 401
    assert [beside.send(body, once).status for _ in range(2)] == [202, 401]
    live.ready("access-signed")
    live.delete("access-signed")
