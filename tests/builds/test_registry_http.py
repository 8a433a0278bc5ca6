"""What a registry over HTTP may answer beside the plain case: pages, refusals, nonsense."""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
from support.registry import patient

from knative_lambda.builds.images.registry_client import Client, Place
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.schemas.errors import NotLetIn, Refused, Unavailable

LIST = "/v2/acme/hello/tags/list"
DIGEST = "sha256:" + "d" * 64


@dataclass
class Script:
    """A registry that answers each path as told, and notes who asked."""

    host: str = ""
    answers: dict[str, tuple[int, Mapping[str, str], object]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def repository(self) -> str:
        return f"{self.host}/acme/hello"

    def says(self, path: str, body: object, status: int = 200, **headers: str) -> None:
        self.answers[path] = status, headers, body


@pytest.fixture
def script() -> Iterator[Script]:
    told = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append((self.path, self.headers.get("Authorization", "")))
            status, headers, body = told.answers.get(self.path, (404, {}, None))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        do_HEAD = do_DELETE = do_GET  # noqa: N815 - the library calls them by the methods' names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.host = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield told
        server.shutdown()


@pytest.fixture
def registry() -> HttpRegistry:
    return HttpRegistry(patient(insecure=True))


def test_a_list_of_several_pages_is_read_to_its_end(script: Script, registry: HttpRegistry) -> None:
    script.says(LIST, {"tags": ["a", "b"]}, Link=f'<{LIST}?last=b&n=2>; rel="next"')
    script.says(f"{LIST}?last=b&n=2", {"tags": ["c"]}, Link=f'<http://{script.host}{LIST}?last=c>; rel="next"')
    script.says(f"{LIST}?last=c", {"tags": ["d"]})
    assert registry.tags(script.repository) == ["a", "b", "c", "d"]


def test_a_page_that_fails_makes_the_whole_list_fail(script: Script, registry: HttpRegistry) -> None:
    """Part of a list must not be taken for the list."""
    script.says(LIST, {"tags": ["a"]}, Link=f'<{LIST}?last=a>; rel="next"')
    script.says(f"{LIST}?last=a", {}, status=500)
    with pytest.raises(Unavailable, match="500"):
        registry.tags(script.repository)


@pytest.mark.parametrize("body", [[], {}, "tags", {"tags": 3}])
def test_an_answer_that_is_no_list_of_tags_is_not_taken_for_an_empty_one(
    script: Script, registry: HttpRegistry, body: object
) -> None:
    script.says(LIST, body)
    with pytest.raises(Unavailable):
        registry.tags(script.repository)


def test_a_repository_whose_tags_are_null_has_none(script: Script, registry: HttpRegistry) -> None:
    script.says(LIST, {"tags": None})
    assert registry.tags(script.repository) == []


def test_credentials_are_sent_to_the_registry_and_never_where_it_points(script: Script, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {script.host: {"username": "u", "password": "p"}}}))
    registry = HttpRegistry(patient(insecure=True, config=config))
    port = script.host.rpartition(":")[2]
    script.says(LIST, {"tags": ["a"]}, Link=f'<http://localhost:{port}{LIST}?last=a>; rel="next"')
    with pytest.raises(Unavailable, match="elsewhere"):
        registry.tags(script.repository)
    assert script.asked == [(LIST, "Basic dTpw")]


ALIKE = [
    "registry.test.evil",
    "registry.test@evil.test",
    "registry.test:8443",
    "registry.testevil",
    "registry.test.evil:1",
]


@pytest.mark.parametrize("other", ALIKE)
def test_a_host_that_begins_like_the_registry_is_not_told_who_we_are(tmp_path: Path, other: str) -> None:
    config = tmp_path / "config.json"
    asked: list[tuple[str, str]] = []
    config.write_text(json.dumps({"auths": {"registry.test": {"username": "u", "password": "p"}}}))

    class Pool(urllib3.PoolManager):
        def request(self, _method: str, url: str, *_: Any, **more: Any) -> urllib3.BaseHTTPResponse:
            asked.append((url, more["headers"].get("Authorization", "")))
            moved = {"Location": f"https://{other}/blob"} if len(asked) == 1 else {}
            return urllib3.HTTPResponse(b"", moved, status=307 if moved else 200)

    class Nowhere(Reach):
        def pool(self, **_options: Any) -> urllib3.PoolManager:
            return Pool()

    client = Client(patient(config=config, reach=Nowhere()))
    assert client.read(Place.of("registry.test/acme/hello"), "blobs/x").status == 200
    assert asked == [
        ("https://registry.test/v2/acme/hello/blobs/x", "Basic dTpw"),
        (f"https://{other}/blob", ""),
    ]


@pytest.mark.parametrize("status", [401, 403, 405])
def test_a_registry_that_does_not_let_images_go_refuses(script: Script, registry: HttpRegistry, status: int) -> None:
    """It answers well: nothing that its breaker should count."""
    script.says(f"/v2/acme/hello/manifests/{DIGEST}", {}, status=status)
    with pytest.raises(Refused, match=str(status)):
        registry.delete(script.repository, DIGEST)


def test_a_delete_that_fails_is_told(script: Script, registry: HttpRegistry) -> None:
    script.says(f"/v2/acme/hello/manifests/{DIGEST}", {}, status=500)
    with pytest.raises(Unavailable, match="500"):
        registry.delete(script.repository, DIGEST)


def test_a_list_whose_pages_never_end_is_given_up(script: Script, registry: HttpRegistry) -> None:
    script.says(LIST, {"tags": ["a"]}, Link=f'<{LIST}>; rel="next"')
    with pytest.raises(Unavailable, match="more tags"):
        registry.tags(script.repository)


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_does_not_let_us_ask_says_so(script: Script, registry: HttpRegistry, status: int) -> None:
    """It answers well here too: others, who may, are to get through its breaker."""
    script.says(f"/v2/acme/hello/manifests/{DIGEST}", {}, status=status)
    script.says(LIST, {}, status=status)
    with pytest.raises(NotLetIn, match=str(status)):
        registry.digest(f"{script.repository}@{DIGEST}")
    with pytest.raises(NotLetIn, match=str(status)):
        registry.tags(script.repository)
