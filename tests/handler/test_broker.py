"""How the product says who it is to Brokers that ask."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from knative_lambda.handler.tell.broker import HttpBroker
from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.redaction import redact


class Ingress(ThreadingHTTPServer):
    """Keeps by what name whoever posts calls themselves."""

    def __init__(self) -> None:
        ingress = self
        self.told: list[tuple[str, str | None]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ingress.told.append((self.path, self.headers["Authorization"]))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def ingress() -> Iterator[Ingress]:
    with Ingress() as serving:
        yield serving
        serving.shutdown()


def test_each_broker_is_shown_the_token_that_is_for_it_as_it_is_now(ingress: Ingress, tmp_path: Path) -> None:
    broker = HttpBroker(tokens=str(tmp_path))
    for name, token in (("acme.default", "one\n"), ("other.default", "two"), ("acme.default", "three")):
        (tmp_path / name).write_text(token)
        assert broker.post(f"{ingress.url}/{name.replace('.', '/')}", {"ce-id": "1"}, b"{}") == 202
    assert ingress.told == [
        ("/acme/default", "Bearer one"),
        ("/other/default", "Bearer two"),
        ("/acme/default", "Bearer three"),
    ]


def test_what_a_broker_is_shown_is_told_to_nobody_else(ingress: Ingress, tmp_path: Path) -> None:
    (tmp_path / "acme.default").write_text("opaque-token\n")
    HttpBroker(tokens=str(tmp_path)).post(f"{ingress.url}/acme/default", {}, b"{}")
    assert redact("it was opaque-token") == "it was ***"


def test_without_tokens_none_is_shown(ingress: Ingress) -> None:
    assert HttpBroker().post(f"{ingress.url}/acme/default", {}, b"{}") == 202
    assert ingress.told == [("/acme/default", None)]


def test_a_broker_for_which_there_is_no_token_is_asked_again_later(ingress: Ingress, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no token"):
        HttpBroker(tokens=str(tmp_path)).post(f"{ingress.url}/acme/default", {}, b"{}")
    assert ingress.told == []
