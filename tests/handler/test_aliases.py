"""Events of the older families mean what ours mean, and two functions never share a name."""

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from knative_lambda.handler.acts import aliases
from knative_lambda.handler.acts.aliases import canonical, label
from knative_lambda.handler.events import Event
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.types import ALIASES, TYPES

NOTIFI = "network.notifi.lambda."
IDS = {"third_party_id": "acme", "parser_id": "orders"}
DNS_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def event(kind: str, data: dict[str, Any], source: str = "network.notifi.acme", subject: str = "orders") -> Event:
    return Event(id="1", source=source, type=kind, data=data, subject=subject, received_type=kind)


def data_of(sent: Event, *tenants: str, legacy: str = "parsers") -> Any:
    return canonical(sent, lambda name: name in tenants, legacy).data


def faults_of(sent: Event, *tenants: str, legacy: str = "parsers") -> list[str]:
    with pytest.raises(Refused) as raised:
        data_of(sent, *tenants, legacy=legacy)
    return [fault.where for fault in raised.value.faults]


def test_our_own_events_pass_unchanged() -> None:
    own = event("dev.knative-lambda.function.delete", {"tenant": "acme", "name": "hello"})
    assert canonical(own, lambda _: False, "") is own


def test_every_alias_becomes_its_canonical_type_with_data_of_its_schema() -> None:
    data = {**IDS, "image": "registry.example/x:1", "build": "orders-abc", "reason": "no disk", "sequence": 7}
    for alias in ALIASES:
        found = canonical(event(alias.type, data), lambda _: True, "")
        assert (found.type, found.received_type) == (alias.alias_of, alias.type)
        assert catalogue.event_faults(TYPES[found.type].schema, found.data) == []
        assert found.data["sequence"] == 7


def test_a_start_says_what_the_older_family_left_unsaid() -> None:
    assert data_of(event(NOTIFI + "build.start", IDS)) == {
        "tenant": "parsers",
        "name": "acme-orders",
        "runtime": "node",
        "source": {"object": "global/parser/orders"},
        "triggers": [{"type": NOTIFI + "parser.start", "source": "network.notifi.acme", "subject": "orders"}],
    }


def test_a_start_may_say_its_runtime_and_its_source() -> None:
    said = {"runtime": "python", "source": {"inline": {"main.py": "x"}}}
    found = data_of(event("io.knative.lambda.command.build.start", {**IDS, **said}, source="/ci"))
    assert {name: found[name] for name in said} == said
    assert found["triggers"][0]["source"] == "network.notifi.acme"


def test_the_ids_are_taken_from_source_and_subject_where_the_data_has_none() -> None:
    assert data_of(event(NOTIFI + "service.delete", {})) == {"tenant": "parsers", "name": "acme-orders"}
    other = event(NOTIFI + "service.delete", IDS, source="network.notifi.other", subject="other")
    assert data_of(other) == {"tenant": "parsers", "name": "acme-orders"}


def test_every_id_that_is_missing_is_named() -> None:
    nameless = event(NOTIFI + "service.delete", {}, source="/shop", subject="")
    assert faults_of(nameless) == ["/data/third_party_id", "/data/parser_id"]


def test_a_sender_with_a_tenant_of_its_name_has_its_functions_there() -> None:
    assert data_of(event(NOTIFI + "service.delete", IDS), "acme") == {"tenant": "acme", "name": "orders"}


def test_without_a_tenant_for_such_senders_they_are_refused() -> None:
    assert faults_of(event(NOTIFI + "service.delete", IDS), legacy="") == ["/data/third_party_id"]


def test_only_a_name_that_can_be_a_tenants_is_asked_for() -> None:
    asked: list[str] = []
    sent = event(NOTIFI + "service.delete", {**IDS, "third_party_id": "../acme"})
    canonical(sent, lambda name: bool(asked.append(name)), "parsers")
    assert asked == []


def test_a_timeout_is_a_failure_with_that_reason() -> None:
    found = data_of(event(NOTIFI + "build.timeout", {**IDS, "message": "gave up"}))
    assert (found["reason"], found["message"], found["build"]) == ("Timeout", "gave up", "")


def test_the_free_text_of_a_failure_becomes_its_message() -> None:
    found = data_of(
        event(NOTIFI + "build.failed", {**IDS, "reason": "npm exited with 1", "error": "E404", "build": "b-1"})
    )
    assert (found["reason"], found["message"], found["build"]) == ("BuildFailed", "npm exited with 1; E404", "b-1")


def test_a_message_is_cut_to_what_ours_may_hold() -> None:
    found = data_of(event(NOTIFI + "build.failed", {**IDS, "error": "x" * 32768, "message": "y" * 32768}))
    assert len(found["message"]) == 32768


def test_what_our_schema_asks_for_beyond_the_older_one_is_refused_when_missing() -> None:
    assert faults_of(event(NOTIFI + "build.complete", IDS)) == ["/data"]


def test_a_build_that_is_not_named_is_left_to_be_found() -> None:
    assert data_of(event(NOTIFI + "build.complete", {**IDS, "image": "registry.example/x:1"}))["build"] == ""


@pytest.mark.parametrize("parser", ["..", "a/b", "a b", "."])
def test_a_parser_that_can_be_no_key_must_bring_its_source(parser: str) -> None:
    bare = event(NOTIFI + "build.start", {**IDS, "parser_id": parser})
    assert faults_of(bare) == ["/data/source"]
    brought = event(NOTIFI + "build.start", {**IDS, "parser_id": parser, "source": {"inline": {"x.js": "y"}}})
    assert DNS_LABEL.fullmatch(data_of(brought)["name"])


def test_names_that_lose_nothing_are_kept() -> None:
    assert label("orders") == "orders"
    assert label("acme", "parser-001") == "acme-parser-001"


@pytest.mark.parametrize(
    "parts",
    [("Orders",), ("a_b",), ("1st",), ("x" * 64,), ("é",), ("-",), ("a-b", "c"), ("acme", "x-0123456789abcdef")],
)
def test_names_that_lose_something_end_in_a_hash(parts: tuple[str, ...]) -> None:
    assert re.fullmatch(r"[a-z][-a-z0-9]*-[0-9a-f]{16}", label(*parts))


IDENTIFIERS = st.text(st.sampled_from("abAB-_.01é "), min_size=1, max_size=12) | st.text(min_size=1, max_size=80)


@settings(max_examples=250, deadline=None, database=None)
@given(left=st.tuples(IDENTIFIERS, IDENTIFIERS), right=st.tuples(IDENTIFIERS, IDENTIFIERS))
@example(("a-b", "c"), ("a", "b-c"))
@example(("enterprise", "parser-001" + "x" * 60), ("enterprise", "parser-001" + "x" * 61))
@example(("Acme", "x"), ("acme", "x"))
@example(("a-b", "c"), ("a", label("a-b", "c").removeprefix("a-")))
def test_distinct_ids_give_distinct_labels(left: tuple[str, str], right: tuple[str, str]) -> None:
    """Also where one asks for the name that another got with its hash."""
    for parts in (left, right, left[:1]):
        assert DNS_LABEL.fullmatch(label(*parts))
        assert len(label(*parts)) <= aliases.LONGEST_NAME
    assert (label(*left) == label(*right)) == (left == right)
    assert (label(left[0]) == label(right[0])) == (left[0] == right[0])
