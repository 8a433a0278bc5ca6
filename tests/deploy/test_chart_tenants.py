"""What a tenant gets from the chart beside its namespaces: limits, and rights for its people."""

from support.chart import PRODUCT, render

from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.quantities import value

PEOPLE = {"demo": {"groups": ["demo-team"], "users": ["jane"]}}


def names(objects: list[Object], kind: str, namespace: str) -> list[str]:
    """Return the names of a kind's objects in a namespace."""
    return [
        item["metadata"]["name"]
        for item in objects
        if item["kind"] == kind and item["metadata"].get("namespace") == namespace
    ]


def test_what_a_tenant_may_take_is_limited_in_both_of_its_namespaces() -> None:
    """A quota of memory refuses a Pod that does not say how much it asks for; Knative's own container does not."""
    objects = render(tenants=["demo"])
    for namespace, what in (("demo", "functions"), ("demo-builds", "builds")):
        assert names(objects, "ResourceQuota", namespace) == [what]
        assert names(objects, "LimitRange", namespace) == [what]
        [quota] = [item for item in objects if item["kind"] == "ResourceQuota" and item["metadata"]["name"] == what]
        [limits] = [item for item in objects if item["kind"] == "LimitRange" and item["metadata"]["name"] == what]
        asked = {name.removeprefix("requests.") for name in quota["spec"]["hard"] if name.startswith("requests.")}
        [each] = limits["spec"]["limits"]
        assert asked <= each["defaultRequest"].keys()
        assert "limits.memory" in quota["spec"]["hard"]
        assert {"memory", "ephemeral-storage"} <= each["default"].keys()
        assert all(
            value(each["defaultRequest"].get(name, "0")) <= value(most) for name, most in each["default"].items()
        )
        assert each["defaultRequest"]["ephemeral-storage"] == "0", "or a Pod would ask a node for all that it may take"


def test_what_is_kept_of_a_tenant_that_left_the_list_keeps_its_bounds() -> None:
    """Its functions run on, and a build that had begun: as closed in and as limited as before."""
    kept = {}
    for item in render(tenants=["demo", "acme"]):
        where = item["metadata"].get("namespace")
        if where in ("acme", "acme-builds") and item["kind"] in ("NetworkPolicy", "ResourceQuota", "LimitRange"):
            notes = item["metadata"].get("annotations") or {}
            kept[where, item["kind"], item["metadata"]["name"]] = notes.get("helm.sh/resource-policy")
    assert set(kept.values()) == {"keep"}
    for where, what in (("acme", "functions"), ("acme-builds", "builds")):
        bounds = {("ResourceQuota", what), ("LimitRange", what), ("NetworkPolicy", "nothing"), ("NetworkPolicy", what)}
        assert {(kind, name) for place, kind, name in kept if place == where} == bounds


def test_a_tenants_people_work_with_its_functions_and_have_no_right_anywhere_else() -> None:
    objects = render(tenants=["demo", "acme"], people=PEOPLE)
    bindings = [item for item in objects if item["kind"] == "RoleBinding"]
    theirs = [each for each in bindings if any(subject["kind"] != "ServiceAccount" for subject in each["subjects"])]
    assert [each["metadata"]["namespace"] for each in theirs] == ["demo"]
    assert [(subject["kind"], subject["name"]) for subject in theirs[0]["subjects"]] == [
        ("Group", "demo-team"),
        ("User", "jane"),
    ]
    [role] = [
        item for item in objects if item["kind"] == "Role" and item["metadata"]["name"] == theirs[0]["roleRef"]["name"]
    ]
    may = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    changes = {(resource, verb) for resource, verb in may if verb not in ("get", "list", "watch")}
    assert {resource for resource, _ in changes} == {"functions", "deadletters"}
    assert not {"secrets", "functions/status", "builds/status", "pods/exec"} & {resource for resource, _ in may}


def test_without_people_nobody_but_the_products_accounts_is_given_a_right() -> None:
    subjects = [subject for item in render() if item["kind"] == "RoleBinding" for subject in item["subjects"]]
    assert {(subject["kind"], subject["namespace"]) for subject in subjects} == {("ServiceAccount", PRODUCT)}
