import json
from collections.abc import Mapping

from knative_lambda.deploy.cluster import BUILD, FUNCTION
from knative_lambda.deploy.embedded.messages import parse
from knative_lambda.deploy.embedded.sources import Sources
from knative_lambda.schemas.catalogue import event_faults

SENT = list[tuple[Mapping[str, str], bytes]]


def sources(sent: SENT) -> Sources:
    return Sources(lambda headers, body: sent.append((headers, body)))


def test_a_change_of_an_object_is_reported_by_reference() -> None:
    sent: SENT = []
    function = {"metadata": {"namespace": "demo", "name": "hello"}, "spec": {"secret": "not sent"}}

    for verb in ("add", "update", "delete"):
        sources(sent).report(verb, FUNCTION, function)

    events = [parse(headers, body) for headers, body in sent]
    assert [event.attributes["type"].rpartition(".")[2] for event in events] == ["add", "update", "delete"]
    assert len({event.attributes["id"] for event in events}) == 3
    assert events[0].attributes["subject"] == "/apis/knative-lambda.dev/v1alpha1/namespaces/demo/functions/hello"
    data = json.loads(events[0].body)
    assert data == {
        "apiVersion": "knative-lambda.dev/v1alpha1",
        "kind": "Function",
        "namespace": "demo",
        "name": "hello",
    }
    assert event_faults("apiserver.resource", data) == []


def test_a_kind_that_nobody_asked_for_is_not_reported() -> None:
    sent: SENT = []

    sources(sent).report("add", BUILD, {"metadata": {"namespace": "demo", "name": "hello"}})

    assert sent == []


def test_a_tick_is_an_event_of_the_ping_source() -> None:
    sent: SENT = []

    sources(sent).tick()

    [(headers, body)] = sent
    assert parse(headers, body).attributes["type"] == "dev.knative.sources.ping"
