"""Tenant by tenant, operation by operation: what each may where, by real accounts with real tokens.

alice and bob are people of one tenant each, by the chart's own RoleBindings. Whatever is asked for in another's, the
answer is the same, byte for byte, for what is there, for what isn't, and for tenants that never were.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.callers import ACCOUNTS, NEIGHBOUR, Answer, Beside, bare_token, event, forget, introduce, kubectl, token
from support.live import TENANT, Live, within

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, JOB, POD, Kind, Object
from knative_lambda.schemas import catalogue, types

PEOPLE = {"e2e-alice": NEIGHBOUR, "e2e-bob": TENANT}
"""Everybody who is somewhere at home, and where they are not."""
NAME = "matrix"
SOURCE = {"inline": {"main.py": "def handle(event, context):\n    return {'n': 1}\n"}}
DIGEST = "sha256:" + "1" * 64
SAID: dict[str, dict[str, Any]] = {
    types.BUILD_START: {"runtime": "python", "source": SOURCE},
    types.BUILD_CANCEL: {},
    types.FUNCTION_DELETE: {},
    types.BUILD_COMPLETE: {"build": NAME, "image": f"r.test/x@{DIGEST}"},
    types.BUILD_FAILED: {"build": NAME, "reason": "BuildFailed"},
}
HINTS = [known.type for known in types.SOURCES]
OUTSIDE = (types.BUILD_COMPLETE, types.BUILD_FAILED)
"""Said by an outside builder, which is given a right of its own: people only read Builds."""
ROUTES = [(method.upper(), path) for path, known in catalogue.openapi()["paths"].items() for method in known]
ANSWERED = {"log": {404}, "start": {422}} | {
    action: {202, 409} for action in ("cancel", "retry", "rollback", "pause", "resume")
}
"""What its own tenant is answered, by the last word: a start has no source here, and the rest depends on the moment."""
KINDS = {
    "functions": FUNCTION,
    "builds": BUILD,
    "deadletters": DEAD_LETTER,
    "jobs.batch": JOB,
    "pods": POD,
    "secrets": Kind("", "v1", "Secret", "secrets"),
}
MAY = {
    "get": {"functions", "builds", "deadletters", "pods"},
    "create": {"functions"},
    "delete": {"functions", "deadletters"},
}
"""What people may in their own tenant's namespace, with kubectl; and nowhere else anything."""
PLACES = (TENANT, NEIGHBOUR, f"{TENANT}-builds", f"{NEIGHBOUR}-builds", "knative-lambda")
each_person = pytest.mark.parametrize("person", PEOPLE)


def thing(kind: Kind, namespace: str, **spec: Any) -> Object:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": spec,
    }


def build(namespace: str) -> Object:
    spec = {"function": NAME, "functionUID": "1", "inputHash": DIGEST, "context": DIGEST, "cause": "x"}
    return thing(BUILD, namespace, runtime="python", builder="kaniko", **spec)


def letter(namespace: str) -> Object:
    sent = {"specversion": "1.0", "id": "1", "source": "/e2e", "type": "e2e.nobody"}
    return thing(
        DEAD_LETTER, namespace, reason="Failed", event=sent, truncated=False, time="2026-01-01T00:00:00Z", count=1
    )


def there(live: Live) -> None:
    """See to it that both tenants have a function, a Build and a dead letter of that name."""
    for namespace in PEOPLE.values():
        live.cluster.apply(FUNCTION, thing(FUNCTION, namespace, **SAID[types.BUILD_START]))
        for kind, body in ((BUILD, build(namespace)), (DEAD_LETTER, letter(namespace))):
            if live.cluster.get(kind, namespace, NAME) is None:
                live.cluster.create(kind, body)


@contextmanager
def given(namespace: str, person: str, role: str) -> Iterator[None]:
    """Give somebody the rights of a Role, or of `cluster-admin`, in a namespace, while it lasts."""
    kind = "clusterrole" if role == "cluster-admin" else "role"
    place = ["rolebinding", "e2e-given", "-n", namespace]
    done = kubectl("create", *place, f"--{kind}={role}", f"--serviceaccount={ACCOUNTS[person]}:{person}")
    assert done.returncode == 0, done.stderr
    try:
        yield
    finally:
        kubectl("delete", *place)


@pytest.fixture(scope="module", autouse=True)
def two_tenants(live: Live) -> Iterator[None]:
    introduce(live)
    there(live)
    yield
    for namespace in PEOPLE.values():
        for kind in (FUNCTION, BUILD, DEAD_LETTER):
            live.cluster.delete(kind, namespace, NAME)
    forget(live)


@pytest.fixture(scope="module")
def receiver(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    found = Beside(settings, tmp_path_factory.mktemp("beside"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def tokens() -> dict[str, dict[str, str]]:
    return {person: token(person) for person in PEOPLE}


def refusal(answers: list[Answer]) -> int:
    """Return the status of answers which are all the same, to the byte."""
    assert answers == [answers[0]] * len(answers)
    return answers[0].status


# --- events


@each_person
@pytest.mark.parametrize("kind", [kind for kind in SAID if kind not in OUTSIDE])
def test_people_send_what_concerns_their_own_tenant(
    live: Live, receiver: Beside, tokens: dict[str, dict[str, str]], person: str, kind: str
) -> None:
    home, name = ACCOUNTS[person], f"{NAME}-of-{person}"
    assert receiver.send(event(kind, home, name, **SAID[kind]), tokens[person]).status == 202
    if kind == types.FUNCTION_DELETE:
        within(60, "it is gone", lambda: live.cluster.get(FUNCTION, home, name) is None)


@each_person
@pytest.mark.parametrize("kind", SAID)
def test_nobody_sends_what_concerns_another_tenant_nor_learns_what_it_has(
    live: Live, receiver: Beside, tokens: dict[str, dict[str, str]], person: str, kind: str
) -> None:
    places = [(PEOPLE[person], NAME), (PEOPLE[person], "no-such"), ("no-such", NAME), ("knative-lambda", NAME)]
    answers = [receiver.send(event(kind, *place, **SAID[kind]), tokens[person]) for place in places]
    assert refusal(answers) == 403
    assert live.cluster.get(FUNCTION, PEOPLE[person], NAME)


@each_person
def test_an_outcome_is_not_told_by_people_but_by_whom_the_right_is_given(
    receiver: Beside, tokens: dict[str, dict[str, str]], person: str
) -> None:
    home = ACCOUNTS[person]

    def told() -> set[int]:
        return {receiver.send(event(kind, home, NAME, **SAID[kind]), tokens[person]).status for kind in OUTSIDE}

    assert told() == {403}
    with given(home, person, "cluster-admin"):  # then it is said that the Build is none of an outside builder's
        within(30, "they are let in", lambda: told() <= {202, 422}, every=1)


@each_person
@pytest.mark.parametrize("kind", HINTS)
def test_people_do_not_say_what_only_the_products_sources_do(
    receiver: Beside, tokens: dict[str, dict[str, str]], person: str, kind: str
) -> None:
    where = {"apiVersion": FUNCTION.api_version, "kind": "Function", "name": NAME, "namespace": ACCOUNTS[person]}
    data = {} if kind == types.PING else where if ".ref." in kind else {**where, "metadata": where}
    said = json.loads(event(kind, "x", "x")) | {"data": data}
    assert receiver.send(json.dumps(said).encode(), tokens[person]).status == 403


# --- /v1


@each_person
@pytest.mark.parametrize("route", ROUTES, ids="-".join)
def test_people_see_what_is_their_own_tenants(
    live: Live, receiver: Beside, tokens: dict[str, dict[str, str]], person: str, route: tuple[str, str]
) -> None:
    method, path = route
    there(live)  # the letter, which an earlier route may have sent again
    home = ACCOUNTS[person]
    last = path.rpartition("/")[2]

    def ask(name: str) -> int:
        return receiver.ask(method, path.format(tenant=home, name=name), tokens[person]).status

    assert ask(NAME) in ANSWERED.get(last, {202} if method == "POST" else {200})
    if "{name}" in path and last != "start":
        assert ask("no-such") == 404


@each_person
@pytest.mark.parametrize("route", ROUTES, ids="-".join)
def test_nobody_sees_what_is_anothers_nor_whether_it_is_there(
    live: Live, receiver: Beside, tokens: dict[str, dict[str, str]], person: str, route: tuple[str, str]
) -> None:
    method, path = route
    there(live)
    places = [(PEOPLE[person], NAME), (PEOPLE[person], "no-such"), ("no-such", NAME), ("knative-lambda", NAME)]
    asked = [path.format(tenant=tenant, name=name) for tenant, name in places]
    assert refusal([receiver.ask(method, one, tokens[person]) for one in asked]) == 403


def test_with_the_right_given_for_the_moment_the_same_person_gets_the_same_things(
    live: Live, receiver: Beside, tokens: dict[str, dict[str, str]]
) -> None:
    there(live)
    bob, name = tokens["e2e-bob"], f"{NAME}-of-both"
    reads = [path.format(tenant=TENANT, name=NAME) for method, path in ROUTES if method == "GET" and "log" not in path]

    def statuses() -> set[int]:
        there(live)  # the letter, which an earlier story may have sent again
        return {receiver.ask("GET", one, bob).status for one in reads}

    assert statuses() == {403}
    with given(TENANT, "e2e-bob", "knative-lambda-people"):
        within(30, "he reads", lambda: statuses() == {200}, every=1)
        for kind in (types.BUILD_START, types.FUNCTION_DELETE):
            sent = event(kind, TENANT, name, **SAID[kind])
            within(30, "he sends", lambda sent=sent: receiver.send(sent, bob).status == 202, every=1)
    within(30, "no longer", lambda: statuses() == {403}, every=1)


# --- kubectl


class Kubectl:
    """kubectl of somebody who has a token and nothing else: no certificate of the cluster's beside it."""

    def __init__(self, folder: Path) -> None:
        whole = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
        whole["users"] = [{"name": one["name"], "user": {}} for one in whole["users"]]
        self.config = folder / "config"
        self.config.write_text(yaml.safe_dump(whole))
        self.tokens = {person: bare_token(person) for person in PEOPLE}

    def refused(self, person: str, verb: str, kind: str, namespace: str) -> str:
        """Return what the API server says against something for want of a right; nothing is made or deleted."""
        at = [
            "--kubeconfig",
            str(self.config),
            "--token",
            self.tokens[person],
            "-n",
            namespace,
            "--cache-dir=/tmp/e2e-kubectl",
        ]
        if verb == "create":
            body = bodies(namespace)[kind]
            done = kubectl(*at, "create", "--dry-run=server", "--validate=false", "-f", "-", text=yaml.safe_dump(body))
        else:
            done = kubectl(*at, verb, kind, *(["no-such"] if verb == "delete" else []))
        return done.stderr if "cannot" in done.stderr or "Unauthorized" in done.stderr else ""


def bodies(namespace: str) -> dict[str, Object]:
    plain = {"containers": [{"name": "x", "image": "r.test/x"}], "restartPolicy": "Never"}
    secret = thing(KINDS["secrets"], namespace)
    del secret["spec"]
    return {
        "functions": thing(FUNCTION, namespace, **SAID[types.BUILD_START]),
        "builds": build(namespace),
        "deadletters": letter(namespace),
        "jobs.batch": thing(JOB, namespace, template={"spec": plain}),
        "pods": thing(POD, namespace, **plain),
        "secrets": secret,
    }


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    return Kubectl(tmp_path_factory.mktemp("kubectl"))


@each_person
@pytest.mark.parametrize("place", PLACES)
def test_with_kubectl_people_do_what_is_decided_and_nothing_elsewhere(theirs: Kubectl, person: str, place: str) -> None:
    may = {(verb, kind) for verb in MAY for kind in KINDS if not theirs.refused(person, verb, kind, place)}
    decided = {(verb, kind) for verb, kinds in MAY.items() for kind in kinds}
    assert may == (decided if place == ACCOUNTS[person] else set())


@pytest.mark.parametrize("place", [TENANT, f"{TENANT}-builds"])
def test_it_is_for_want_of_the_right_and_of_nothing_else(theirs: Kubectl, place: str) -> None:
    assert theirs.refused("e2e-bob", "get", "secrets", place)
    with given(place, "e2e-bob", "cluster-admin"):
        within(10, "all is his", lambda: not theirs.refused("e2e-bob", "get", "secrets", place))
        assert [kind for kind in KINDS if theirs.refused("e2e-bob", "get", kind, place)] == []
        assert [kind for kind in KINDS if theirs.refused("e2e-bob", "delete", kind, place)] == []
        assert theirs.refused("e2e-bob", "get", "functions", NEIGHBOUR) == ""
        assert theirs.refused("e2e-bob", "get", "secrets", NEIGHBOUR)
