"""Who may do what, as the API server says it itself: what the installed chart grants, and nothing beside it."""

import json
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from support.asked import Asked, allowed, spread
from support.live import TENANT, Live

from knative_lambda.deploy.cluster import Object

PRODUCT, NEIGHBOUR = "knative-lambda", "neighbour"
HOMES = (PRODUCT, TENANT, f"{TENANT}-builds", NEIGHBOUR, f"{NEIGHBOUR}-builds")
PLACES = (*HOMES, "kube-system", "default")
FUNCTIONS = tuple((tenant, "a-function") for tenant in (TENANT, NEIGHBOUR))
"""Each function has an account of its own name, of which no Role knows; the names of these are as good as any."""
PARTS = {"receiver", "deadletters", "sources", "builder"}
REVIEWS = {
    ("tokenreviews.authentication.k8s.io", "create"),
    ("subjectaccessreviews.authorization.k8s.io", "create"),
}
"""What Kubernetes' own ClusterRole system:auth-delegator grants: to ask who somebody is, and what they may."""
Account = tuple[str, str]


def kubectl(*arguments: str, body: Object | None = None) -> str:
    said = json.dumps(body) if body else None
    return subprocess.run(["kubectl", *arguments], input=said, capture_output=True, text=True, check=True).stdout


def rights(account: Account) -> set[Asked]:
    """Return all that an account may do in the places, in the API server's own words: of those in one request each."""
    reviews = [
        {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "metadata": {},
            "spec": {"namespace": place},
        }
        for place in PLACES
    ]
    asked = {"apiVersion": "v1", "kind": "List", "items": reviews}
    who = f"--as=system:serviceaccount:{account[0]}:{account[1]}"
    lines = kubectl(who, "create", "-f", "-", "-o", 'jsonpath={.status}{"\\n"}', body=asked).splitlines()
    told = [json.loads(line) for line in lines]
    assert not any(status["incomplete"] for status in told)
    return {
        (place, what, verb)
        for place, status in zip(PLACES, told, strict=True)
        for rule in status["resourceRules"]
        for what, verb in spread(rule)
    }


def matrix(accounts: Iterable[Account]) -> dict[Account, set[Asked]]:
    """Return what each account may beside what every account may: ask who it is, and what it may."""
    accounts = [*accounts, ("nowhere", "nobody")]
    with ThreadPoolExecutor(4) as several:
        found = dict(zip(accounts, several.map(rights, accounts), strict=True))
    everybody = found.pop(("nowhere", "nobody"))
    return {account: given - everybody for account, given in found.items()}


@pytest.fixture(scope="module")
def granted(live: Live) -> list[Object]:
    """Return the objects of the installation, as Helm has applied them."""
    manifest = subprocess.run(
        ["helm", "get", "manifest", PRODUCT, "-n", PRODUCT], capture_output=True, text=True, check=True
    )
    return [found for found in yaml.safe_load_all(manifest.stdout) if found]


@pytest.fixture(scope="module")
def accounts(live: Live) -> list[Account]:
    """Return every account of the product's namespaces and the tenants', those of functions, and no story's people."""
    found = json.loads(kubectl("get", "serviceaccounts", "-A", "-o", "json"))["items"]
    there = [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in found]
    return sorted(
        {*FUNCTIONS, *(account for account in there if account[0] in HOMES and not account[1].startswith("e2e-"))}
    )


@pytest.fixture(scope="module")
def found(accounts: list[Account]) -> dict[Account, set[Asked]]:
    return matrix(accounts)


def expected(granted: list[Object], account: Account) -> set[Asked]:
    home, name = account
    asks = any(
        each["kind"] == "ClusterRoleBinding" and {"kind": "ServiceAccount", "name": name, "namespace": home} in who
        for each in granted
        for who in [each.get("subjects", [])]
    )
    return allowed(granted, name, home) | {(place, *each) for place in PLACES for each in REVIEWS if asks}


def test_every_account_may_do_what_the_chart_grants_it_and_nothing_beside_it(
    found: dict[Account, set[Asked]], granted: list[Object]
) -> None:
    assert {name for _, name in found} >= PARTS
    assert found == {account: expected(granted, account) for account in found}


def test_builds_functions_and_a_namespaces_default_account_may_do_nothing(found: dict[Account, set[Asked]]) -> None:
    those = {account: given for account, given in found.items() if account[1] in ("builder", "default", "a-function")}
    assert len(those) == len(HOMES) + 2 + len(FUNCTIONS)
    assert not any(those.values())


def test_no_account_may_read_a_secret_or_become_more_than_it_is(found: dict[Account, set[Asked]]) -> None:
    """But for the receiver, which reads by name, in tenants' namespaces, what is given to builds (`builds.secrets`)."""
    for account, given in found.items():
        secrets = {(place, verb) for place, what, verb in given if what == "secrets"}
        named = {(tenant, "get") for tenant in (TENANT, NEIGHBOUR)} if account == (PRODUCT, "receiver") else set()
        assert {verb for _, verb in secrets - named} <= {"create", "delete"}, account
        assert not {what for _, what, _ in given if what.endswith("rbac.authorization.k8s.io")}, account
        assert not {verb for _, _, verb in given} & {"*", "impersonate", "bind", "escalate"}, account


@pytest.fixture
def given_more(live: Live) -> Iterator[Account]:
    """Let the account of builds read Secrets, as a Role that somebody has added does."""
    who, where = (f"{TENANT}-builds", "builder"), f"{TENANT}-builds"
    kubectl("create", "role", "more", "--verb=get", "--resource=secrets", "-n", where)
    try:
        kubectl("create", "rolebinding", "more", "--role=more", f"--serviceaccount={who[0]}:{who[1]}", "-n", where)
        yield who
    finally:
        kubectl("delete", "role/more", "rolebinding/more", "-n", where, "--ignore-not-found")


def test_a_right_that_somebody_has_added_is_seen(given_more: Account, granted: list[Object]) -> None:
    """The counterpart: the questions that find nothing elsewhere find this."""
    found = matrix([given_more])[given_more]
    assert found - expected(granted, given_more) == {(f"{TENANT}-builds", "secrets", "get")}
