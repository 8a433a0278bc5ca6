"""The main path on a real cluster: an event brings a source, the function answers events, a delete removes it.

Every story speaks to the product through brokers alone; the first ones begin with the receiver at zero.
"""

import itertools
import json
import os
import re
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from support.live import TENANT, Live, within

from knative_lambda.deploy.cluster import DEAD_LETTER, TRIGGER, Kind
from knative_lambda.schemas import names, types

DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets")
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def example(name: str) -> dict[str, Any]:
    """Return an example's files as an inline source."""
    folder = EXAMPLES / name
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")
    return {"inline": {str(path.relative_to(folder)): path.read_text() for path in files}}


def greeting(version: str) -> dict[str, Any]:
    code = f"def handle(event, context):\n    return {{'version': {version!r}, 'n': event.data['n']}}\n"
    return {"inline": {"main.py": code}}


@pytest.fixture
def from_zero(live: Live) -> None:
    live.receiver_at_zero()


@pytest.mark.usefixtures("from_zero")
def test_a_python_function_with_a_dependency_answers_and_a_delete_leaves_nothing(live: Live) -> None:
    live.start("python-hello", runtime="python", source=example("python-hello"))
    live.ready("python-hello")
    reply = live.answer("python-hello", {"name": "e2e python"}, lambda data: "e2e python" in json.dumps(data).lower())
    assert any(isinstance(value, str) and value[:1].isdigit() for value in reply.values()), f"the version: {reply}"
    live.delete("python-hello")


@pytest.mark.usefixtures("from_zero")
def test_a_node_function_with_a_dependency_answers(live: Live) -> None:
    live.start("node-hello", runtime="node", source=example("node-hello"))
    live.ready("node-hello")
    live.answer("node-hello", {"name": "e2e node"}, lambda data: "e2e node" in json.dumps(data).lower())
    live.delete("node-hello")


def test_a_go_function_with_a_dependency_answers(live: Live) -> None:
    live.start("go-hello", runtime="go", source=example("go-hello"))
    live.ready("go-hello")
    reply = live.answer("go-hello", {"name": "e2e go"}, lambda data: data.get("hello") == "e2e go")
    assert len(reply["id"]) == len("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
    live.delete("go-hello")


def test_a_go_function_that_does_not_compile_says_so_in_the_compilers_words(live: Live) -> None:
    live.start("go-fails", runtime="go", source={"inline": {"handle.go": "package function\n\nfunc Handle() { x }\n"}})
    built = within(
        180, "the build fails", lambda: (c := live.condition("go-fails", "Built")).get("status") == "False" and c
    )
    assert built["reason"] == "BuildFailed"
    assert "handle.go:3:17: undefined: x" in built["message"]
    live.delete("go-fails")


FRAMEWORK = {
    "python": {
        "main.py": "import functions_framework\n\n@functions_framework.http\ndef hello(request):\n"
        "    return {'hello': request.get_json()['name'], 'by': request.method}\n",
        "requirements.txt": "functions-framework==3.*\n",
    },
    "node": {
        "index.js": "const functions = require('@google-cloud/functions-framework');\n"
        "functions.http('hello', (req, res) => res.json({ hello: req.body.name, by: req.method }));\n",
        "package.json": '{"dependencies": {"@google-cloud/functions-framework": "^5.0.0"}}\n',
    },
}


@pytest.mark.parametrize(("runtime", "entrypoint"), [("python", "main.hello"), ("node", "index.hello")])
def test_an_http_function_of_functions_framework_answers_an_event_with_an_event(
    live: Live, runtime: str, entrypoint: str
) -> None:
    name = f"framework-{runtime}"
    live.start(name, runtime=runtime, source={"inline": FRAMEWORK[runtime]}, entrypoint=entrypoint)
    live.ready(name)
    live.answer(name, {"name": "e2e framework"}, {"hello": "e2e framework", "by": "POST"}.__eq__)
    live.delete(name)


def test_a_dockerfile_function_answers(live: Live) -> None:
    source = example("dockerfile-hello")
    files = source["inline"]
    files["Dockerfile"] = re.sub(r"(?m)^FROM .*$", f"FROM {os.environ['PYTHON_BASE']}", files["Dockerfile"])
    live.start("dockerfile-hello", runtime="dockerfile", source=source)
    live.ready("dockerfile-hello")
    live.answer(
        "dockerfile-hello", {"name": "e2e dockerfile"}, lambda data: "e2e dockerfile" in json.dumps(data).lower()
    )
    live.delete("dockerfile-hello")


def test_a_base_of_a_registry_that_cannot_be_reached_comes_from_its_cache(live: Live) -> None:
    """The installation names this cluster's registry as the cache of a registry that does not exist."""
    _, _, base = os.environ["PYTHON_BASE"].partition("/")
    recipe = f'FROM elsewhere.test/{base}\nCOPY serve.py /app/serve.py\nUSER 65532\nCMD ["python3", "/app/serve.py"]\n'
    served = example("dockerfile-hello")["inline"]["serve.py"]
    live.start("mirrored", runtime="dockerfile", source={"inline": {"Dockerfile": recipe, "serve.py": served}})
    live.ready("mirrored")
    live.delete("mirrored")


def test_the_images_that_builds_and_functions_begin_with_are_on_every_node(live: Live) -> None:
    def warmed() -> bool:
        found = live.cluster.get(DAEMON_SET, "knative-lambda", "warm-images")
        status = found["status"] if found else {}
        return 0 < status.get("desiredNumberScheduled", 0) == status.get("numberReady", 0)

    assert within(120, "the images are on every node", warmed, every=1)


def test_a_new_version_replaces_the_old_and_no_event_is_lost(live: Live) -> None:
    both = [{"type": "e2e.ledger"}, {"type": "e2e.ledger.old"}]
    live.start("ledger", runtime="python", source=greeting("one"), scale={"min": 1}, triggers=both)
    old = live.ready("ledger")
    live.answer("ledger", {"n": -1}, lambda data: data["n"] == -1)
    ledger: list[int] = []
    enough = threading.Event()

    def send() -> None:
        for n in itertools.count():
            if enough.is_set():
                return
            live.call("ledger", {"n": n})
            ledger.append(n)
            time.sleep(0.2)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        within(60, "the old version answers", lambda: answered(live, "one") - {-1})
        live.start("ledger", runtime="python", source=greeting("two"), scale={"min": 1})
        live.ready("ledger", image_other_than=old)
        within(60, "the new version answers", lambda: answered(live, "two"))
        already = len(ledger)
        within(60, "more events were sent", lambda: len(ledger) > max(20, already + 10))
    finally:
        enough.set()
        sender.join()
    within(60, "every event was answered", lambda: answered(live, "one") | answered(live, "two") >= {*ledger})
    [trigger] = live.cluster.list(TRIGGER, TENANT, {names.FUNCTION_LABEL: "ledger"})
    assert trigger["spec"]["filter"]["attributes"] == {"type": "e2e.ledger"}, "the one that it has no more is gone"
    live.delete("ledger")


def answered(live: Live, version: str) -> set[int]:
    return {data["n"] for data in live.collector.replies("ledger") if data["version"] == version}


@pytest.mark.usefixtures("from_zero")
def test_an_event_of_the_older_family_does_the_same(live: Live) -> None:
    """The function gets its events by the older family's own type, source and subject."""
    ids = {"third_party_id": TENANT, "parser_id": "parser-1"}
    source = {"source": "network.notifi.demo", "subject": "parser-1"}
    code = "exports.handle = async (event) => ({ parsed: event.data.text });\n"
    start = {**ids, "source": {"inline": {"index.js": code}}}
    live.command("network.notifi.lambda.build.start", start, **source)
    live.ready("parser-1")
    parsed = {"parsed": "older family"}
    event = {"kind": types.PARSER_START, "attributes": {**source, "id": "parser-event"}}
    live.answer("parser-1", {"text": "older family"}, parsed.__eq__, **event)
    live.command("network.notifi.lambda.service.delete", ids, **source)
    within(120, "nothing is left of it", lambda: not live.left_of("parser-1"), every=1)


def test_a_failing_build_says_why_while_the_old_version_keeps_answering(live: Live) -> None:
    live.start("fails", runtime="python", source=greeting("good"))
    live.ready("fails")
    broken = {"inline": {**greeting("bad")["inline"], "requirements.txt": "no-such-package-anywhere==1.0\n"}}
    live.start("fails", runtime="python", source=broken)
    built = within(
        180, "the build fails", lambda: (c := live.condition("fails", "Built")).get("status") == "False" and c
    )
    assert built["reason"] == "BuildFailed"
    assert "no-such-package-anywhere" in built["message"], "the last lines of the log are there"
    reply = live.answer("fails", {"n": 7}, lambda data: data["n"] == 7)
    assert reply["version"] == "good"
    live.delete("fails")


def test_a_deleted_function_is_not_brought_back_by_an_older_event(live: Live) -> None:
    early = "2026-01-01T00:00:00Z"
    live.start("gone", runtime="python", source=greeting("one"))
    within(60, "it is being built", lambda: live.function("gone"))
    live.delete("gone")
    older = str(uuid.uuid4())
    live.command(
        types.BUILD_START,
        {"tenant": TENANT, "name": "gone", "runtime": "python", "source": greeting("one")},
        id=older,
        time=early,
    )
    within(60, "the older event is answered", lambda: live.handled(older))
    assert live.left_of("gone") == []


def test_a_refused_event_is_kept_with_the_reason(live: Live) -> None:
    before = {letter["metadata"]["name"] for letter in live.cluster.list(DEAD_LETTER, "knative-lambda")}
    live.command(types.BUILD_START, {"tenant": TENANT, "name": "Not A Name"})

    def look() -> Any:
        found = live.cluster.list(DEAD_LETTER, "knative-lambda")
        return [letter for letter in found if letter["metadata"]["name"] not in before]

    [letter] = within(120, "the event is kept", look)
    assert letter["spec"]["code"] == 422
    assert "Not A Name" in letter["spec"]["message"] or "name" in letter["spec"]["message"]
