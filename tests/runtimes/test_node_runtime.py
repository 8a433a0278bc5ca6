"""What only the Node wrapper promises: what becomes of errors that no answer waits for, and the SDK's events."""

from pathlib import Path

from support.wrappers import Runtime, binary

EVENT_CLASS = """
class CloudEvent {
  constructor(attributes) {
    Object.assign(this, { time: new Date(0).toISOString(), schemaurl: undefined }, attributes);
  }
  toJSON() {
    const { data, ...rest } = this;
    return { ...rest, data_base64: data.toString("base64") };
  }
}
const required = { specversion: "1.0", id: "1", source: "/s", type: "t" };
exports.handle = () => new CloudEvent({ ...required, data: Buffer.from("raw") });
"""


def function(folder: Path, text: str) -> Path:
    (folder / "index.js").write_text(text)
    return folder


def test_an_event_object_of_an_sdk_is_an_answer(node: Runtime, tmp_path: Path) -> None:
    answer = node.serve(function(tmp_path, EVENT_CLASS)).send("demo")
    assert (answer.status, answer.body, answer.headers["ce-time"]) == (200, b"raw", "1970-01-01T00:00:00.000Z")


def test_an_event_is_frozen_and_has_a_structured_form(node: Runtime, tmp_path: Path) -> None:
    text = (
        "exports.handle = (event) => [Object.isFrozen(event), Object.keys(event), JSON.parse(JSON.stringify(event))];"
    )
    headers, _ = binary("demo")
    answer = node.serve(function(tmp_path, text)).post([*headers, ("content-type", "image/png")], b"\x00\xff")
    attributes = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "demo", "datacontenttype": "image/png"}
    assert answer.json() == [True, [*attributes, "data"], attributes | {"data_base64": "AP8="}]


def test_a_rejection_that_nobody_handles_is_logged_and_kills_nothing(node: Runtime, tmp_path: Path) -> None:
    text = """
        exports.handle = async () => {
          Promise.reject(new RangeError("nobody's"));
          await new Promise((go) => setTimeout(go, 50));
          return "answered";
        };"""
    served = node.serve(function(tmp_path, text))
    assert [served.send("demo", id="7").json() for _ in range(2)] == ["answered", "answered"]
    line = served.lines(exception="RangeError")[0]
    assert (line["level"], line["event_id"], "nobody's" in line["traceback"]) == ("ERROR", "7", True)


def test_an_exception_in_a_callback_ends_the_process_after_what_runs_is_answered(node: Runtime, tmp_path: Path) -> None:
    """Nobody knows what state it left behind: Knative starts a fresh container."""
    text = """
        exports.handle = async () => {
          setTimeout(() => { throw new RangeError("nobody's"); }, 0);
          await new Promise((go) => setTimeout(go, 50));
          return "answered";
        };"""
    served = node.serve(function(tmp_path, text))
    assert served.send("demo").json() == "answered"
    assert served.exit_code() == 1
    assert served.lines(exception="RangeError")


def test_a_function_has_its_own_node_modules_and_folder(node: Runtime, tmp_path: Path) -> None:
    package = tmp_path / "node_modules" / "greeting"
    package.mkdir(parents=True)
    (package / "index.js").write_text('module.exports = require("node:fs").readFileSync("greeting.txt", "utf8");')
    (tmp_path / "greeting.txt").write_text("hello")
    served = node.serve(function(tmp_path, 'const greeting = require("greeting"); exports.handle = () => greeting;'))
    assert served.send("demo").json() == "hello"


def test_anything_that_is_thrown_is_a_failure(node: Runtime, tmp_path: Path) -> None:
    served = node.serve(function(tmp_path, 'exports.handle = async () => { throw "just words"; };'))
    answer = served.send("demo")
    assert (answer.status, answer.json()["detail"]) == (500, "string")
    assert served.lines(traceback="just words")
