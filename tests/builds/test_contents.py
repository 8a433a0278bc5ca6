"""What a context's lists name, in each language's own words; and what is no list names nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative_lambda.builds.inputs import archive, contents
from knative_lambda.builds.inputs.archive import File
from knative_lambda.builds.inputs.contents import Package

LOCK = {
    "packages": {
        "": {"name": "mine"},
        "node_modules/left-pad": {"version": "1.3.0"},
        "node_modules/a/node_modules/@scope/b": {"version": "2.0.0"},
        "node_modules/jest": {"version": "29.0.0", "dev": True},
    }
}


def listed(**files: str) -> list[tuple[str, str, str]]:
    context = {f"function/{name}": File(text.encode()) for name, text in files.items()}
    return [(one.kind, one.name, one.version) for one in contents.read(archive.pack(context).body).packages]


def test_requirements_of_pip() -> None:
    text = "# a list\nRequests[socks]==2.32.0 ; python_version > '3'\\\n    --hash=sha256:00\nmy_lib>=1\n-r other.txt\n"
    assert listed(**{"requirements.txt": text}) == [("pypi", "my-lib", ""), ("pypi", "requests", "2.32.0")]


def test_a_lock_of_npm_goes_before_what_was_asked_for() -> None:
    asked = {"package.json": json.dumps({"dependencies": {"left-pad": "^1.0.0", "exact": "1.2.3"}})}
    assert listed(**asked) == [("npm", "exact", "1.2.3"), ("npm", "left-pad", "")]
    assert listed(**asked, **{"package-lock.json": json.dumps(LOCK)}) == [
        ("npm", "@scope/b", "2.0.0"),
        ("npm", "left-pad", "1.3.0"),
    ]


def test_modules_of_go() -> None:
    text = "module example.com/mine\ngo 1.25\nrequire (\n\tgithub.com/a/b v1.2.3\n\tx.org/c v0.1.0 // indirect\n)\n"
    assert listed(**{"go.mod": text}) == [("golang", "github.com/a/b", "v1.2.3"), ("golang", "x.org/c", "v0.1.0")]


@pytest.mark.parametrize("name", ["package.json", "package-lock.json", "go.mod", "requirements.txt"])
@given(st.text(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_no_text_breaks_a_reader(name: str, text: str) -> None:
    listed(**{name: text})


@pytest.mark.parametrize(
    "body", [{"packages": []}, {"packages": {"node_modules/a": 1}}, {"dependencies": {"a": {}}}, []]
)
def test_no_json_breaks_a_reader(body: object) -> None:
    assert {one[2] for one in listed(**{"package-lock.json": json.dumps(body)})} <= {""}
    assert {one[2] for one in listed(**{"package.json": json.dumps(body)})} <= {""}


def test_files_are_told_by_their_hashes_and_a_broken_context_holds_nothing() -> None:
    packed = archive.pack({"Dockerfile": File(b"FROM scratch"), "function/a.py": File(b"")})
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert contents.read(packed.body).files == {"function/a.py": empty}
    assert contents.read(packed.body[:40]) == contents.Contents()
    assert Package("npm", "a", "") < Package("npm", "b", "")
