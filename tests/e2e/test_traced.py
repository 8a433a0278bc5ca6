"""One trace on the real cluster: from its sender through Broker and receiver, a build's Pod and Knative's Service.

The receiver exports to a collector beside the cluster, for as long as the story lasts. Knative exports nothing of its
own here; it hands the trace on.
"""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.collector import Collector, collector
from support.live import HOST, TENANT, Live, within

from knative_lambda.deploy.cluster import BUILD, JOB, KNATIVE_SERVICE
from knative_lambda.schemas import names, trace, types

URL = "KNATIVE_LAMBDA_TRACES_URL"
CODE = """
def handle(event, context):
    return {"trace": event.get_attributes().get("traceparent", "")}
"""


@pytest.fixture
def kept(live: Live) -> Iterator[Collector]:
    with collector(host=HOST) as found:
        live.configure(URL, found.url)
        try:
            yield found
        finally:
            with suppress(AssertionError):  # what failed before is told, and not this
                live.delete("traced")
            live.configure(URL, "")


def test_one_build_is_one_trace_through_the_cluster_and_so_is_an_event_with_its_reply(
    live: Live, kept: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = secrets.token_hex(16)
    hop = f"00-{mine}-{secrets.token_hex(8)}-01"
    source = {"inline": {"main.py": CODE}}
    data = {"tenant": TENANT, "name": "traced", "runtime": "python", "source": source, "builder": "kaniko"}
    live.command(types.BUILD_START, data | {"triggers": [{"type": "e2e.traced"}]}, traceparent=hop)
    live.ready("traced")
    service: Any = live.cluster.get(KNATIVE_SERVICE, TENANT, "traced")
    [build] = live.builds("traced")
    [job] = live.cluster.list(JOB, names.builds_namespace(TENANT), {names.BUILD_LABEL: build["metadata"]["name"]})
    found = [live.function("traced") or {}, build, job, {"metadata": job["spec"]["template"]["metadata"]}, service]
    assert [trace.trace_id(trace.of(one)) for one in found] == [mine] * len(found)
    assert build == live.cluster.get(BUILD, TENANT, build["metadata"]["name"])

    def whole() -> bool:
        return "build builder=kaniko reason=Built" in kept.tree(mine) and "cluster.apply Service" in kept.tree(mine)

    within(60, "the whole build is told", whole, every=1)
    tree = kept.tree(mine)
    with capsys.disabled():
        print(f"\n{tree}")  # noqa: T201 - what there is to see
    for name in ("receive", "dev.knative-lambda.build.start", "store.put contexts", "cluster.create Job"):
        assert name in tree, tree
    theirs = secrets.token_hex(16)
    sent = {"attributes": {"traceparent": f"00-{theirs}-{secrets.token_hex(8)}-01"}}
    result = live.answer("traced", {}, lambda data: theirs in str(data), **sent)
    assert trace.trace_id(result["trace"]) == theirs, "the function is told the trace of its event"
    replies = [said for said, _ in live.collector.events if said.get("source", "").endswith("functions/demo/traced")]
    assert theirs in {trace.trace_id(said.get("traceparent", "")) for said in replies}, "and its reply bears it on"
