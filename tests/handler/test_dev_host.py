"""The embedded mode's door asks nobody who they are, so it is for this machine's own people alone."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from knative_lambda.handler.local.dev import Embedded

SOURCE = {"inline": {"main.py": "def handle(event, context):\n    return {}\n"}}
START = {
    "specversion": "1.0",
    "id": "1",
    "source": "/page",
    "type": "dev.knative-lambda.build.start",
    "data": {"tenant": "demo", "name": "mine", "runtime": "python", "source": SOURCE},
}
PATHS = ["/", "/events", "/knative-lambda/default", "/deadletters/demo", "/functions/demo/hello", "/v1/tenants/demo/x"]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    folder: Path = tmp_path_factory.mktemp("data")
    embedded = Embedded(8480, folder, "", ("demo",))
    yield embedded.app(lambda: False).test_client()
    embedded.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        *("rebound.attacker.test:8480", "rebound.attacker.test", "127.0.0.1.attacker.test", "localhost.attacker.test"),
        *(
            "notlocalhost",
            "192.168.0.7:8480",
            "0.0.0.0:8480",
            "127.0.0.1@attacker.test",
            "127.0.0.1:8480@x",
            "[",
            "x y",
        ),
    ],
)
def test_a_web_page_whose_name_was_made_to_mean_this_machine_gets_no_answer(
    door: FlaskClient, host: str, path: str
) -> None:
    """Its reader's browser takes it for the page's own server, and would have its code run as its reader."""
    answer = door.post(
        path, data=json.dumps(START), content_type="application/cloudevents+json", headers={"Host": host}
    )
    assert (answer.status_code, answer.content_type) == (421, "application/problem+json")
    said = answer.get_json(force=True)
    assert said["type"].endswith("/misdirected")
    assert said["detail"] == "Only requests to 127.0.0.1 or localhost are answered: ask for it by that name."
    assert said["correlation_id"] == answer.headers["X-Correlation-Id"]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8480", "127.0.0.1", "localhost:8480", "LocalHost.", "app.localhost", "[::1]:8480", "127.0.0.2:1"],
)
def test_who_asks_for_this_machine_by_a_name_of_its_own_is_answered(door: FlaskClient, host: str) -> None:
    """At whatever port: it may be a tunnel's."""
    assert door.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/v1/tenants", "/v1/default", "/ui/demo", "/health/ready", "/health/default"])
def test_what_is_posted_to_a_path_of_the_receivers_is_not_taken_for_a_brokers(door: FlaskClient, path: str) -> None:
    body = {"data": json.dumps(START), "content_type": "application/cloudevents+json"}
    answer = door.post(path, **body)
    assert (answer.status_code, answer.content_type) == (405, "application/problem+json")
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "HEAD"}
    assert "Broker" not in answer.text
    assert "there is no Broker v2/default" in door.post("/v2/default", **body).text


def test_there_is_nothing_to_be_read_where_there_is_nothing(door: FlaskClient) -> None:
    for path in ("/v1/tenants", "/health/default"):
        assert door.get(path).status_code == 404


def test_a_browser_that_has_but_the_address_is_led_to_the_page(door: FlaskClient) -> None:
    answer = door.get("/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "ui")
    assert "<h1>" in door.get("/", follow_redirects=True).text
