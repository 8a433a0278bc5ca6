"""Who watches is told each thing once, whatever becomes of the connection."""

from collections.abc import Mapping
from typing import cast

import pytest

from knative_lambda.client.errors import Away, Unreachable
from knative_lambda.client.http import Answer, Http
from knative_lambda.client.patience import MISSED
from knative_lambda.client.stream import watch


class Server:
    """Answers one after the other; None is no answer, a number a status."""

    def __init__(self, *answers: str | int | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.pauses: list[float] = []

    def ask(self, _method: str, _path: str, headers: Mapping[str, str]) -> Answer:
        self.asked.append(headers.get("Last-Event-ID", ""))
        said = self.answers.pop(0) if self.answers else None
        if said is None:
            raise Away("it does not answer")
        if isinstance(said, int):
            return Answer(said, {}, b"")
        return Answer(200 if said else 204, {}, said.encode())

    def watched(self) -> list[str]:
        return [each.data["line"] for each in watch(cast("Http", self), "/events", self.pauses.append)]


def said(*lines: str) -> str:
    return "retry: 250\n\n" + "".join(f'id: {line}\nevent: log\ndata: {{"line": "{line}"}}\n\n' for line in lines)


def test_one_comes_back_with_the_last_id_when_it_is_said_until_all_was_told() -> None:
    server = Server(said("a", "b"), said(), said("c"), "")
    assert server.watched() == ["a", "b", "c"]
    assert server.asked == ["", "b", "b", "c"]
    assert server.pauses == [0.25] * 3


def test_a_service_that_goes_away_and_comes_again_is_asked_for_the_rest() -> None:
    server = Server(said("a"), None, None, said("b"), "")
    assert server.watched() == ["a", "b"]
    assert server.asked == ["", "a", "a", "a", "b"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_one_that_cannot_answer_now_is_asked_again_from_the_first_question_on(status: int) -> None:
    server = Server(status, said("a"), status, said("b"), "")
    assert server.watched() == ["a", "b"]
    assert server.asked == ["", "", "a", "a", "b"]


@pytest.mark.parametrize("status", [401, 403, 410])
def test_who_may_not_watch_is_told_so_at_once(status: int) -> None:
    server = Server(said("a"), status)
    with pytest.raises(Unreachable):
        server.watched()
    assert len(server.asked) == 2


def test_one_that_was_never_there_or_stays_away_is_given_up() -> None:
    with pytest.raises(Unreachable):
        Server(None).watched()
    gone = Server(said("a"))
    with pytest.raises(Unreachable):
        gone.watched()
    assert len(gone.asked) == 1 + MISSED
