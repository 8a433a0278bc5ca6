"""Mistakes that earlier systems made with names: cut short, shared, or taken from strangers as they came."""

import re
from itertools import product

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.site import Site
from support.world import PYTHON, versions

from knative_lambda.deploy.cluster import KINDS
from knative_lambda.handler.acts.aliases import Ids, place
from knative_lambda.schemas import names

FUNCTIONS = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)
IDS = st.text(min_size=1, max_size=80) | st.from_regex(r"[a-zA-Z0-9._-]{1,80}", fullmatch=True)
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
LEGACY_START = "network.notifi.lambda.build.start"


def test_d1_two_long_names_that_share_their_beginning_never_share_a_job(site: Site) -> None:
    """A Job's name was cut at 63 characters, and the cut removed the hash that made it unique."""
    long = [f"{'x' * 62}{end}" for end in "ab"]
    for name in long:
        assert site.post(name=name).status_code == 202
    jobs = [site.job(name)["metadata"]["name"] for name in long]
    assert len({*jobs}) == 2
    for job in jobs:
        assert re.fullmatch(r"[-a-z0-9]+-[a-z2-7]{16}-1", job), "it ends in the hash of the whole, and the attempt"
        assert len(job) <= 57, "the Pod's name is the Job's with six characters more, and is cut at 63"


@settings(max_examples=300)
@given(st.tuples(IDS, IDS), st.tuples(IDS, IDS))
@example(("enterprise-customer", "parser-001"), ("enterprise-customer", "parser-002"))
@example(("a-b", "c"), ("a", "b-c"))
def test_d2_two_pairs_of_ids_never_share_a_function(one: tuple[str, str], other: tuple[str, str]) -> None:
    """A service was called after the first fifteen characters of two ids: very different functions were one."""
    assume(one != other)
    assert place(Ids(*one), lambda _: False, "acme") != place(Ids(*other), lambda _: False, "acme")


@settings(max_examples=300)
@given(st.tuples(FUNCTIONS, FUNCTIONS, st.text(), st.text()), st.tuples(FUNCTIONS, FUNCTIONS, st.text(), st.text()))
@example(("f", "uid", "i", ""), ("f", "uid", "i", "other"))
@example(("f", "one", "i", ""), ("f", "other", "i", ""))
def test_d2_two_inputs_never_share_a_build_and_two_functions_never_an_image_or_a_trigger(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str]
) -> None:
    """The same, for what is made of a function: neither a Build nor a repository nor a Trigger is another's."""
    assert (names.build_name(*one) == names.build_name(*other)) == (one == other)
    assert (names.repository("r", *one[:2]) == names.repository("r", *other[:2])) == (one[:2] == other[:2])
    triggers = [names.trigger_name(function, {"type": kind}) for function, _, kind, _ in (one, other)]
    assert (triggers[0] == triggers[1]) == ((one[0], one[2]) == (other[0], other[2]))


def test_d3_tenants_functions_and_versions_never_overwrite_each_others_context(site: Site) -> None:
    """A context's key had no tenant in it, and no hash: two tenants, or two builds at once, overwrote each other."""
    for tenant, name, source in product(("acme", "other"), ("hello", "bye"), versions("one", "two")):
        assert site.post(tenant=tenant, name=name, source=source).status_code == 202
    stored = [one.key.split("/") for one in site.store.list("contexts/")]
    assert sorted({(tenant, name) for _, tenant, name, _ in stored}) == [
        ("acme", "bye"),
        ("acme", "hello"),
        ("other", "bye"),
        ("other", "hello"),
    ]
    assert len(stored) == 8
    hashes = {build["spec"]["context"] for tenant in ("acme", "other") for build in site.builds(tenant)}
    assert {f"sha256:{file.removesuffix('.tar.gz')}" for *_, file in stored} == hashes, "named by what is in it"


@settings(max_examples=40, deadline=None)
@given(IDS, IDS)
@example("User@Example.COM", "Größe 1")
@example("-", "_")
@example("x" * 80, "y" * 80)
def test_d16_no_id_of_a_stranger_becomes_a_label_as_it_came(third_party: str, parser: str) -> None:
    """Raw ids were used as values of labels: the API server refused the object, or worse, it matched another's."""
    site = Site()
    data = {"third_party_id": third_party, "parser_id": parser, "runtime": "python", "source": {"inline": PYTHON}}
    answer = site.post(LEGACY_START, tenant=None, name=None, **data)
    assert answer.status_code == (422 if "\0" in third_party + parser else 202)
    places = [(kind, place) for kind in KINDS if kind.namespaced for place in ("acme", "acme-builds")]
    made = [found for kind, place in places for found in site.cluster.list(kind, place)]
    assert bool(made) == (answer.status_code == 202)
    for body in made:
        labels = body["metadata"].get("labels", {})
        assert all(LABEL_VALUE.fullmatch(value) for value in labels.values())
        assert labels.get(names.FUNCTION_LABEL, site.functions()[0]) == site.functions()[0]
