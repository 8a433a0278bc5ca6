"""An OTLP collector of a test's own: what was exported to it, and the trees that this makes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """What was exported of one."""

    name: str
    trace: str
    id: str
    parent: str
    began: int
    attributes: dict[str, str]
    links: tuple[str, ...]
    """Ids of the traces that it is linked to."""
    error: str


@dataclass
class Collector:
    """Keeps all spans that it gets."""

    spans: list[Span] = field(default_factory=list)
    url: str = ""
    status: int = 200
    answers: threading.Event = field(default_factory=threading.Event)
    """As long as this is not set, it takes requests and says nothing."""

    def traces(self) -> set[str]:
        return {span.trace for span in self.spans}

    def tree(self, trace: str) -> str:
        """Return a trace as text: each span below its parent, in the order of their beginnings."""
        mine = sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.began)
        known = {span.id for span in mine}
        roots = [span for span in mine if span.parent not in known]
        return "\n".join(line for root in roots for line in self._lines(root, mine, ""))

    def _lines(self, span: Span, among: list[Span], indent: str) -> Iterator[str]:
        shown = " ".join(f"{key}={span.attributes[key]}" for key in ("builder", "reason") if key in span.attributes)
        yield f"{indent}{span.name} {shown}{span.error}".rstrip()
        for child in among:
            if child.parent == span.id:
                yield from self._lines(child, among, f"{indent}  ")

    def take(self, body: bytes) -> None:
        asked = ExportTraceServiceRequest()
        asked.ParseFromString(body)
        for resource in asked.resource_spans:
            for scope in resource.scope_spans:
                self.spans += [_span(one) for one in scope.spans]


def _span(one: Any) -> Span:
    return Span(
        one.name,
        one.trace_id.hex(),
        one.span_id.hex(),
        one.parent_span_id.hex(),
        one.start_time_unix_nano,
        {each.key: each.value.string_value or str(each.value.int_value) for each in one.attributes},
        tuple(link.trace_id.hex() for link in one.links),
        f"! {one.status.message}" if one.status.code == 2 else "",
    )


@contextmanager
def collector(*, silent: bool = False, host: str = "127.0.0.1") -> Iterator[Collector]:
    """Collect while this lasts; a silent one answers nobody until it ends."""
    kept = Collector()
    if not silent:
        kept.answers.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.answers.wait(60)
            if kept.status == 200:
                kept.take(body)
            self.send_response(kept.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.url = f"http://{host}:{server.server_address[1]}/v1/traces"
    try:
        yield kept
    finally:
        kept.answers.set()
        server.shutdown()
        server.server_close()
        thread.join()
