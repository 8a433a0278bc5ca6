"""Spans by OpenTelemetry, exported over OTLP/HTTP. Its libraries are imported here alone, and only where tracing is on.

Joined in `__main__.py`. A thread of its own exports: what waits for that is bounded, what is beyond is dropped, and no
request waits for a collector, be it slow or away.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from knative_lambda.handler.effects import Call
from knative_lambda.handler.observe.spans import Attributes, Spans
from knative_lambda.schemas import trace
from knative_lambda.schemas.errors import ProductError
from knative_lambda.schemas.redaction import redact

WAITING = 2048
"""Spans that wait to be exported, at most."""
PAUSE = 1000
"""Milliseconds between two exports: a pod may end soon."""
PATIENCE = 5.0
"""Seconds that a collector has for one export."""
REMOTE = frozenset({"cluster", "store", "registry", "pusher", "reviews", "broker"})
"""Ports whose calls leave the process; of the others the builder is shown, too."""
SHOWN = REMOTE | {"builder"}
log = logging.getLogger(__name__)
_W3C = TraceContextTextMapPropagator()


class _Exporter(OTLPSpanExporter):
    """Tells once when the collector goes away, and once when it is back."""

    _last = SpanExportResult.SUCCESS

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = super().export(spans)
        if result != self._last:
            away = result != SpanExportResult.SUCCESS
            log.warning("the collector of spans %s", "does not take them: they are dropped" if away else "is back")
        self._last = result
        return result


class OtelSpans(Spans):
    """Makes spans and exports them to `url`; of traces that nobody has decided about, `percent` in a hundred."""

    is_on = True

    def __init__(self, url: str, percent: int = 100) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it would tell of each export that fails
        ratio = TraceIdRatioBased(percent / 100)
        self._provider = TracerProvider(
            sampler=ParentBased(ratio, remote_parent_not_sampled=ratio),
            resource=Resource({"service.name": "knative-lambda"}),
            shutdown_on_exit=False,
        )
        exporter = _Exporter(endpoint=url, timeout=PATIENCE)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, WAITING, PAUSE, export_timeout_millis=5000))
        self._tracer = self._provider.get_tracer("knative-lambda")

    @contextmanager
    def span(self, name: str, attributes: Attributes, *, link: str = "", serves: bool = False) -> Iterator[None]:
        """See `Spans.span`. An error of the product's own is an answer: its name is told, and that it was none."""
        kind = SpanKind.SERVER if serves else SpanKind.INTERNAL
        with self._span(name, attributes, kind, link):
            yield

    def call(self, call: Call, do: Callable[[], Any]) -> Any:
        """See `Spans.call`; a call for no trace has no span: the outbox asks often, and finds nothing."""
        if call.port not in SHOWN or not trace.current():
            return do()
        kind = SpanKind.CLIENT if call.port in REMOTE else SpanKind.INTERNAL
        with self._span(str(call), {"port": call.port, "operation": call.method, "of": call.of}, kind):
            return do()

    def past(self, name: str, attributes: Attributes, began: str, ended: str) -> None:
        """See `Spans.past`."""
        first, last = (int(datetime.fromisoformat(one).timestamp() * 1e9) for one in (began, ended))
        span = self._tracer.start_span(name, _context(trace.current()), attributes=attributes, start_time=first)
        span.end(end_time=max(first, last))

    def stop(self, timeout: float) -> None:
        """See `Spans.stop`; a collector that hangs is left behind."""
        ending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(timeout)

    @contextmanager
    def _span(self, name: str, attributes: Attributes, kind: SpanKind, link: str = "") -> Iterator[None]:
        links = [Link(found) for found in [_spoken(link)] if found is not None]
        span = self._tracer.start_span(name, _context(trace.current()), kind, attributes=attributes, links=links)
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(span, Context()))
        try:
            with trace.within(carrier.get(trace.HEADER, "")):
                yield
        except Exception as error:
            said = redact(str(error)) if isinstance(error, ProductError) else ""
            span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {said}"))
            raise
        finally:
            span.end()


def _context(traceparent: str) -> Context:
    return _W3C.extract({trace.HEADER: traceparent}, Context())


def _spoken(traceparent: str) -> Any:
    context = get_current_span(_context(traceparent)).get_span_context()
    return context if context.is_valid else None
