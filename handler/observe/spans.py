"""Spans: what was done for whom, and for how long. These here are made by nobody: tracing is off.

Used by `app.py`, `converge.py` and `effects.watched`, which know no more than this; `spans_otel.py` makes real ones. A
span's parent is whatever this thread works for (`schemas/trace.py`), and it is that in turn while it lasts.

One trace is one version of a source, from its event until it runs, over all requests and pods that had a hand in it. So
the trace is on record: the Function and its Build are annotated with it, and what is told of them later goes on there.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler.effects import Call
from knative_lambda.schemas import trace

Attributes = Mapping[str, str | int]


class Spans:
    """Makes none; any thread may ask."""

    is_on = False

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes,  # noqa: ARG002 - for those who make some
        *,
        link: str = "",  # noqa: ARG002 - the same
        serves: bool = False,  # noqa: ARG002 - the same
    ) -> Iterator[None]:
        """Do something as a span of its own, linked to another trace; `serves` is said of what answers a request."""
        del name
        yield

    def past(self, name: str, attributes: Attributes, began: str, ended: str) -> None:
        """Tell of something that lasted from one moment to another, RFC 3339."""

    def call(self, call: Call, do: Callable[[], Any]) -> Any:
        """Make a call of a port (an `Around`)."""
        del call
        return do()

    def stop(self, timeout: float) -> None:
        """Have what is not exported yet exported, for `timeout` seconds at most."""

    @contextmanager
    def of(self, function: Object) -> Iterator[None]:
        """Go on with a Function where its trace was left; one that is as it should be is not gone on with for ever."""
        if not self.is_on:
            yield
            return
        parent, other, meta = trace.current(), trace.of(function), function["metadata"]
        rests = all(condition(function, kind)["status"] == "True" for kind in ("Built", "Ready"))
        if trace.trace_id(parent) == trace.trace_id(other):
            other = ""
        elif other and not rests:
            parent, other = other, parent
        attributes = {"tenant": meta["namespace"], "function": meta["name"]}
        with trace.within(parent), self.span("converge", attributes, link=other):
            yield
