"""What only the Go wrapper promises: other ways to write a function, and what the compiler refuses."""

import subprocess
from pathlib import Path

import pytest
from support.wrappers import RUNTIMES, TESTS, Runtime, binary

GO = "package function\n\n"


def test_a_function_for_the_cloudevents_sdk_answers_with_an_event_of_its_own(go: Runtime) -> None:
    """What the SDK's own client would have filled in is filled in: the id, always the same one, and the source."""
    served = go.serve(LAMBDA_ENTRYPOINT="cloudevents.CloudEvents", K_SERVICE="hello")
    answers = [served.send("demo", {"a": [1, "é"]}, id="7", tier="gold") for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"a": [1, "é"]}] * 2
    [first, second] = [answer.headers for answer in answers]
    assert (first["ce-type"], first["ce-tier"]) == ("sdk.demo", "gold")
    assert first["ce-id"] == second["ce-id"] != ""
    assert first["ce-source"] == "/knative-lambda/functions/default/hello"


def test_a_signature_of_functions_framework_is_called_as_it_is(go: Runtime) -> None:
    served = go.serve(LAMBDA_ENTRYPOINT="cloudevents.Framework")
    assert served.send("demo", {"a": "b"}).status == 202
    assert served.send("demo", ["no", "map"]).status == 500


@pytest.mark.parametrize(
    ("content_type", "body"), [("application/json", b'{"a":1}'), ("text/plain", b"x"), ("image/png", b"\x00\xff")]
)
def test_an_sdk_event_keeps_all_that_came(go: Runtime, content_type: str, body: bytes) -> None:
    served = go.serve(LAMBDA_ENTRYPOINT="cloudevents.Same")
    headers = [*binary("demo", subject="a b", tier="gold", time="2026-01-02T03:04:05Z")[0]]
    answer = served.post([*headers, ("content-type", content_type)], body)
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, body, content_type)
    assert {name: answer.headers[name] for name in ("ce-subject", "ce-tier", "ce-time", "ce-id")} == {
        "ce-subject": "a%20b",
        "ce-tier": "gold",
        "ce-time": "2026-01-02T03:04:05Z",
        "ce-id": "1",
    }


def test_an_error_that_is_returned_is_a_500_that_keeps_its_words(go: Runtime) -> None:
    served = go.serve(LAMBDA_ENTRYPOINT="handle.Returning")
    answer = served.send("demo", id="7")
    assert (answer.status, answer.json()["detail"]) == (500, "errors.errorString")
    [line] = served.lines(event_id="7")
    assert (line["level"], "the password is 1234" in line["message"]) == ("ERROR", True)


class TestWeb:
    def test_an_http_function_gets_every_request_and_answers_what_it_likes(self, go: Runtime) -> None:
        served = go.serve(LAMBDA_ENTRYPOINT="web.Web")
        answer = served.request("PUT", "/a/b?c=d", [("content-type", "text/plain")], b"body")
        assert (answer.status, answer.body) == (200, b"PUT /a/b?c=d body")
        assert (served.request("GET", "/teapot").status, served.request("GET", "/readyz").body) == (418, b"")

    def test_who_sends_it_an_event_gets_an_event(self, go: Runtime) -> None:
        """A broker takes nothing else for an answer."""
        served = go.serve(LAMBDA_ENTRYPOINT="web.Web")
        answer = served.send("demo", id="7")
        assert (answer.status, answer.body) == (200, b"POST / ")
        assert answer.headers["ce-type"] == "dev.knative-lambda.function.result"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert served.request("POST", "/teapot", *binary("demo")).status == 418

    def test_a_panic_is_a_500_and_a_large_body_an_error(self, go: Runtime) -> None:
        served = go.serve(LAMBDA_ENTRYPOINT="web.Web", LAMBDA_MAX_BODY="10")
        answer = served.request("GET", "/?panic", [("ce-id", "7")])
        assert (answer.status, b"1234" in answer.body) == (500, False)
        [line] = served.lines(event_id="7")
        assert "web.go" in line["traceback"].split("\n")[1]
        assert served.request("POST", "/", body=b"x" * 11).status == 413


def compiled(go: Runtime, folder: Path, **files: str) -> str:
    """Return the last line of what was said of a function that cannot be compiled."""
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    code, lines = go.fail(folder)
    assert code == 1
    return lines[-1].removeprefix("the function cannot be loaded: ")


class TestCompiling:
    @pytest.mark.parametrize(
        ("signature", "words"),
        [
            ("func Handle(name string) string", "'Handle' is func(name string) string; it must take (context.Context"),
            ("func Handle() (int, int)", "must take"),
            ("func Handle(all ...lambda.Event)", "must take"),
            ("func Handle(event lambda.Event, ctx context.Context)", "must take"),
            ("func Handle[T any](event T)", "must take"),
            ("func handle()", "exports no function Handle; it has: none"),
        ],
    )
    def test_a_signature_that_is_not_known_is_named(
        self, go: Runtime, tmp_path: Path, signature: str, words: str
    ) -> None:
        imports = '\nimport (\n"context"\n"knative-lambda.dev/lambda"\n)\n\nvar _ context.Context\nvar _ lambda.Event\n'
        assert words in compiled(go, tmp_path, handle_go=f"{GO}{imports}\n{signature} {{ panic(0) }}\n")

    def test_the_compilers_first_line_is_the_reason(self, go: Runtime, tmp_path: Path) -> None:
        reason = compiled(go, tmp_path, handle_go=f"{GO}func Handle() {{\n\tvar unused int\n}}\n")
        assert reason.endswith("handle.go:4:6: declared and not used: unused")

    def test_a_program_is_no_function(self, go: Runtime, tmp_path: Path) -> None:
        assert "any name but main" in compiled(go, tmp_path, handle_go="package main\n\nfunc Handle() {}\n")

    def test_a_newer_go_than_the_base_has_is_asked_for_in_vain(self, go: Runtime, tmp_path: Path) -> None:
        files = {"handle_go": f"{GO}func Handle() {{}}\n", "go_mod": "module function\n\ngo 1.99\n"}
        assert "1.99" in compiled(go, tmp_path, **files)

    def test_a_module_of_its_own_has_any_name_and_packages(self, go: Runtime, tmp_path: Path) -> None:
        (tmp_path / "go.mod").write_text("module example.com/acme/shop\n\ngo 1.24\n")
        take = 'import "example.com/acme/shop/internal/words"\n\nfunc Take() any { return words.Hello }\n'
        for folder, text in {
            "orders": f"package orders\n\n{take}",
            "internal/words": 'package words\n\nconst Hello = "hello"\n',
        }.items():
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / "take.go").write_text(text)
        assert go.serve(tmp_path, LAMBDA_ENTRYPOINT="orders/take.Take").send("demo").json() == "hello"

    def test_files_of_the_function_are_there_when_it_runs(self, go: Runtime, tmp_path: Path) -> None:
        (tmp_path / "greeting.txt").write_text("hello")
        body = '{\n\ttext, err := os.ReadFile("greeting.txt")\n\treturn string(text), err\n}\n'
        (tmp_path / "handle.go").write_text(f'{GO}import "os"\n\nfunc Handle() (string, error) {body}')
        assert go.serve(tmp_path).send("demo").json() == "hello"


@pytest.mark.usefixtures("go")
def test_the_wrapper_is_formatted_and_vetted() -> None:
    folder = RUNTIMES / "go"
    formatted = subprocess.run(
        ["gofmt", "-l", folder, TESTS / "runtimes/functions/go"], capture_output=True, check=True
    )
    assert formatted.stdout == b""
    subprocess.run(["go", "-C", str(folder), "vet", "./..."], check=True)
