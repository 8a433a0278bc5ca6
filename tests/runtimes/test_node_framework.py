"""Functions as people write them for @google-cloud/functions-framework, with that package installed as they list it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.wrappers import RUNTIMES, Runtime, binary

NAME = "@google-cloud/functions-framework"
COMMON = """
const functions = require("@google-cloud/functions-framework");
functions.http("helloHttp", (req, res) => {
  res.send(`Hello ${req.query.name || req.body?.name || "World"}!`);
});
functions.http("echo", async (req, res) => {
  if (req.path === "/missing") return res.status(404).send("missing");
  const seen = { method: req.method, path: req.path, x: req.query.x, body: req.body, raw: String(req.rawBody ?? "") };
  res.set("X-Made", "here").status(req.method === "PATCH" ? 201 : 200).json(seen);
});
functions.http("plain", (req, res) => {
  res.writeHead(200, { "content-type": "text/plain" });
  res.write("one ");
  res.end("two");
});
functions.http("fails", async () => { throw new RangeError("the password is 1234"); });
functions.cloudEvent("helloEvent", (cloudEvent) => {
  console.error(JSON.stringify({ hello: cloudEvent.data.name, id: cloudEvent.id }));
  return { hello: cloudEvent.data.name };
});
functions.cloudEvent("function", async () => () => "no JSON");
functions.cloudEvent("failsEvent", () => { throw new RangeError("no"); });
"""
MODULE = """
import * as functions from "@google-cloud/functions-framework";
import framework, { cloudEvent } from "@google-cloud/functions-framework";
functions.http("helloHttp", (req, res) => res.send("Hello module!"));
framework.http("viaDefault", (req, res) => res.send("Hello default!"));
cloudEvent("helloEvent", async (event) => console.error(JSON.stringify({ hello: event.data.name })));
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a function's folder after `npm install`: skipped at home where there is no npm or no registry."""
    folder = tmp_path_factory.mktemp("framework")
    (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": {NAME: "^5.0.0"}}))
    command = ["npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--prefer-offline"]
    if shutil.which("npm") is None or subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"{NAME} cannot be installed")
    (folder / "index.js").write_text(COMMON)
    (folder / "module.mjs").write_text(MODULE)
    return folder


def test_an_http_function_answers_every_request_as_express_makes_it(node: Runtime, folder: Path) -> None:
    served = node.serve(folder, LAMBDA_ENTRYPOINT="index.helloHttp")
    assert served.request("GET", "/?name=Ada").body == b"Hello Ada!"
    posted = served.post([("content-type", "application/json")], b'{"name": "Grace"}')
    assert (posted.status, posted.body, "ce-id" in posted.headers) == (200, b"Hello Grace!", False)


def test_methods_paths_and_bodies_are_what_was_sent(node: Runtime, folder: Path) -> None:
    served = node.serve(folder, LAMBDA_ENTRYPOINT="index.echo", LAMBDA_MAX_BODY="100")
    headers = [("content-type", "application/x-www-form-urlencoded")]
    answer = served.request("PATCH", "/a/b?x=1&x=2", headers, iter([b"bo=", b"dy"]))
    assert (answer.status, answer.headers["x-made"]) == (201, "here")
    assert answer.json() == {"method": "PATCH", "path": "/a/b", "x": ["1", "2"], "body": {"bo": "dy"}, "raw": "bo=dy"}
    assert served.post([("content-type", "text/plain")], b"x" * 101).status == 413
    assert served.post([("content-type", "application/json")], b"{").status == 400
    assert served.request("GET", "/readyz").body == b"", "the probes are the wrapper's"


@pytest.mark.parametrize(("name", "body"), [("echo", b'{"a": 1}'), ("plain", b"one two")])
def test_who_sends_an_event_gets_an_event(node: Runtime, folder: Path, name: str, body: bytes) -> None:
    """A broker takes nothing else for an answer; a failure is what it is."""
    served = node.serve(folder, LAMBDA_ENTRYPOINT=f"index.{name}")
    answer = served.send("demo", {"a": 1}, id="7")
    assert (answer.status, body in answer.body or answer.json()["raw"] == body.decode()) == (200, True)
    assert answer.headers["ce-type"] == "dev.knative-lambda.function.result"
    assert (answer.headers["ce-causationid"], answer.headers["content-length"]) == ("7", str(len(answer.body)))
    if name == "echo":
        missing = served.request("POST", "/missing", *binary("demo"))
        assert (missing.status, missing.body, "ce-id" in missing.headers) == (404, b"missing", False)


def test_an_exception_is_a_500_that_keeps_its_secrets_and_a_line_in_the_log(node: Runtime, folder: Path) -> None:
    served = node.serve(folder, LAMBDA_ENTRYPOINT="index.fails")
    answer = served.request("GET", "/")
    assert (answer.status, answer.json()["detail"], b"1234" in answer.body) == (500, "RangeError", False)
    [line] = served.lines(exception="RangeError")
    assert "the password is 1234" in line["traceback"]


@pytest.mark.parametrize("name", ["helloEvent", "function"])
def test_what_an_event_function_returns_is_dropped(node: Runtime, folder: Path, name: str) -> None:
    """The framework makes no event of it either."""
    answer = node.serve(folder, LAMBDA_ENTRYPOINT=f"index.{name}").send("demo", {"name": "Ada"})
    assert (answer.status, answer.body, "ce-id" in answer.headers) == (202, b"", False)


def test_what_an_event_function_throws_is_a_failure(node: Runtime, folder: Path) -> None:
    answer = node.serve(folder, LAMBDA_ENTRYPOINT="index.failsEvent").send("demo")
    assert (answer.status, answer.json()["detail"]) == (500, "RangeError")


def test_a_module_may_import_it(node: Runtime, folder: Path) -> None:
    for name, hello in (("helloHttp", b"Hello module!"), ("viaDefault", b"Hello default!")):
        assert node.serve(folder, LAMBDA_ENTRYPOINT=f"module.{name}").request("GET", "/").body == hello
    served = node.serve(folder, LAMBDA_ENTRYPOINT="module.helloEvent")
    served.send("demo", {"name": "Ada"})
    assert served.lines(hello="Ada")


def test_without_the_package_events_are_served_and_http_functions_told_where_express_comes_from(
    node: Runtime, tmp_path: Path
) -> None:
    (tmp_path / "index.js").write_text(COMMON)
    served = node.serve(tmp_path, LAMBDA_ENTRYPOINT="index.helloEvent")
    served.send("demo", {"name": "Ada"}, id="7")
    assert served.lines(hello="Ada", id="7")
    code, lines = node.fail(tmp_path, LAMBDA_ENTRYPOINT="index.helloHttp")
    assert (code, f"is {NAME} in package.json?" in lines[-1]) == (1, True)


@pytest.mark.parametrize("kind", ["event", "typed"])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("index.js", f'const functions = require("{NAME}");\nfunctions.%s("handle", () => 1);\n'),
        ("index.mjs", f'import {{ %s as register }} from "{NAME}";\nregister("handle", () => 1);\n'),
    ],
)
def test_what_the_stand_in_does_not_have_is_named(
    node: Runtime, tmp_path: Path, file: str, text: str, kind: str
) -> None:
    (tmp_path / "package.json").write_text(json.dumps({"dependencies": {NAME: "^5.0.0"}}))
    (tmp_path / file).write_text(text % kind)
    code, lines = node.fail(tmp_path)
    assert (code, f"functions-framework has no '{kind}' here" in lines[-1]) == (1, True)


def test_the_stand_in_lies_where_the_base_image_has_it() -> None:
    assert (RUNTIMES / "node" / "lib" / "framework.cjs").is_file()


FUNC = """
const handle = async (context, event) => {
  context.log.info(`from ${event.source}`);
  if (event.type === "plain") return { seen: context.cloudEvent.data, same: context.body === event.data };
  const made = context.cloudEventResponse({ hello: event.data.name }).id("8").source("/func");
  return made.type("said").version("1.0").response();
};
module.exports = { handle };
"""


def test_a_function_of_knatives_func_is_called_the_way_it_is_written(node: Runtime, tmp_path: Path) -> None:
    (tmp_path / "index.js").write_text(FUNC)
    (tmp_path / "package.json").write_text('{"dependencies": {"faas-js-runtime": "^2.0.0"}}')
    served = node.serve(tmp_path)
    answer = served.send("hello", {"name": "Ada"}, id="7")
    assert (answer.json(), answer.headers["ce-type"]) == ({"hello": "Ada"}, "said")
    assert (answer.headers["ce-id"], answer.headers["ce-source"]) == ("8", "/func")
    assert served.send("plain", {"a": 1}).json() == {"seen": {"a": 1}, "same": True}
    assert served.lines(event_id="7", message="from /tests")
