"""Which commit a revision is, asked of a real server before anything is built."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.git import Repository, Server, served

from knative_lambda.builds.inputs import refs
from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.builds.inputs.refs import Refs

LOCAL = Refs(Reach.of(["127.0.0.0/8"]))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.fixture
def server(repository: Repository) -> Iterator[Server]:
    with served(repository.bare.parent) as running:
        yield running


def test_a_branch_a_tag_and_head_are_named(repository: Repository, server: Server) -> None:
    first = repository.commit({"a": "1"}, tag="v1")
    second = repository.commit({"a": "2"})
    third = repository.commit({"a": "3"}, branch="feature/new")
    for revision, commit in (("", second), ("main", second), ("v1", first), ("feature/new", third), ("missing", "")):
        assert LOCAL.commit(server.url, revision) == commit, revision


def test_what_cannot_be_asked_is_left_to_the_build(repository: Repository, server: Server) -> None:
    """A redirect is not followed, a closed server not asked again, and no private address reached unless allowed."""
    commit = repository.commit({"a": "1"})
    server.answers.extend([(302, {"Location": server.url}), (401, {}), (500, {})])
    for _ in range(3):
        assert LOCAL.commit(server.url, "main") == ""
    asked = len(server.asked)
    assert Refs(Reach()).commit(server.url, "main") == ""
    assert len(server.asked) == asked, "nothing was sent"
    assert LOCAL.commit(server.url, "main") == commit
    assert LOCAL.commit("http://nowhere.invalid/hello.git", "main") == ""


@pytest.mark.parametrize("answer", [b"", b"zzzz", b"0004", b"00ff" + b"a" * 10, b"0000" * 100, b"\xff" * 50])
def test_what_is_no_answer_names_nothing(answer: bytes) -> None:
    assert refs.named(answer, "main") == ""
