"""The service's processes: ``python -m knative_lambda.handler serve | deadletters | dev``.

What a process needs is imported where it begins, in the one worker: the process above it stays small, and no process
loads what only another one uses.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from knative_lambda.handler.observe import logs
from knative_lambda.handler.receive.server import ServerSettings, serve
from knative_lambda.handler.settings import NEEDED, BadSettings, Settings, read, require

if TYPE_CHECKING:
    from knative_lambda.deploy.reviews import Reviews

FAREWELL = 3.0
"""Seconds that notifications and audit records have to go out after the last answer.

What is owed then is found by the sweep; the records stand in the log.
"""
WRONG = 2
"""Exit code where the settings are wrong."""


def port() -> int:
    """Return the port that Knative says in ``PORT``."""
    said = os.environ.get("PORT", "8080")
    if not said.isdigit():
        raise BadSettings(f"PORT: a number is needed, not {said!r}")
    return int(said)


def receiver(settings: Settings) -> None:
    """Take events on a cluster until told to stop."""
    require(settings, *NEEDED)
    state: dict[str, Any] = {}

    def make_app() -> Callable[..., Any]:
        from knative_lambda.handler import wire  # noqa: PLC0415 - see the module's docstring
        from knative_lambda.handler.observe.metrics import Metrics  # noqa: PLC0415 - the same
        from knative_lambda.handler.receive.app import create_app  # noqa: PLC0415 - the same
        from knative_lambda.handler.receive.door import HttpSettings  # noqa: PLC0415 - the same

        metrics, spans = Metrics(), _spans(settings)
        state.update(metrics=metrics, spans=spans)
        listeners = wire.Listeners(
            [metrics.breaker], [metrics.retried], [metrics.notified], [metrics.hooked], [metrics.call], spans
        )
        service, state["senders"] = wire.service(settings, listeners)
        metrics.show(service.product.census, settings.namespace)
        state["senders"].start()
        porter, state["trail"] = wire.porter(settings, [metrics.audited], [metrics.turned_away])
        state["trail"].start()
        metrics.serve(settings.metrics_port, _readers(settings, service.access.reviews))
        draining = partial(state.__contains__, "draining")
        listening = [metrics.handled]
        decided = HttpSettings(page=settings.page)
        return create_app(service, decided, draining=draining, listeners=listening, porter=porter, spans=spans)

    def stopped() -> None:
        end = time.monotonic() + FAREWELL
        if "trail" in state:  # not where the app could not be made
            state["trail"].close()  # which goes on beside the senders
        if "senders" in state:
            state["senders"].stop(timeout=FAREWELL)
        if "trail" in state:
            state["trail"].stop(timeout=max(0.0, end - time.monotonic()))
        if "metrics" in state:
            state["spans"].stop(timeout=max(0.1, end - time.monotonic()))
            state["metrics"].close()

    serve(
        make_app,
        _listening(settings, settings.threads),
        stopping=lambda: state.update(draining=True),
        stopped=stopped,
    )


def _spans(settings: Settings) -> Any:
    """Return who makes spans; OpenTelemetry is loaded where they go somewhere, and nowhere else."""
    if settings.traces_url:
        from knative_lambda.handler.observe.spans_otel import OtelSpans  # noqa: PLC0415 - 20 MiB

        return OtelSpans(settings.traces_url, settings.traces_percent)
    from knative_lambda.handler.observe.spans import Spans  # noqa: PLC0415 - see the module's docstring

    return Spans()


def _readers(settings: Settings, reviews: "Reviews | None") -> Callable[[Any], Any]:
    """Return what stands before the metrics: nothing, or the question whether whoever asks may read them."""
    if settings.metrics_access == "token" and reviews is not None:
        from knative_lambda.handler.observe.metrics_access import behind  # noqa: PLC0415 - see the module's docstring

        return partial(behind, reviews)
    return lambda app: app


def dead_letters(settings: Settings) -> None:
    """Keep events that nobody could handle until told to stop."""

    def make_app() -> Callable[..., Any]:
        from knative_lambda.deploy.guard import PATIENCE, GuardedCluster  # noqa: PLC0415 - see the module's docstring
        from knative_lambda.deploy.kubernetes import KubernetesCluster  # noqa: PLC0415 - the same
        from knative_lambda.deploy.reviews_kubernetes import KubernetesReviews  # noqa: PLC0415 - the same
        from knative_lambda.handler import deadletters  # noqa: PLC0415 - the same
        from knative_lambda.handler.access.guesses import Guesses  # noqa: PLC0415 - the same
        from knative_lambda.handler.access.recent import Recent  # noqa: PLC0415 - the same
        from knative_lambda.handler.observe.metrics import Metrics  # noqa: PLC0415 - the same
        from knative_lambda.schemas.guard import Guard  # noqa: PLC0415 - the same

        metrics = Metrics(["cluster"])
        guard = Guard("cluster", PATIENCE, listeners=[metrics.breaker], retried=[metrics.retried])
        bare = KubernetesCluster()
        cluster = GuardedCluster(bare, guard)
        reviews = Recent(Guesses(KubernetesReviews(bare)))
        metrics.serve(settings.metrics_port, _readers(settings, reviews))
        let_in: deadletters.LetIn = deadletters.anybody
        if "oidc" in settings.access_events:
            let_in = deadletters.brokers_alone(reviews, settings.access_audience)
        now = partial(datetime.now, UTC)
        return deadletters.create_app(cluster, settings.namespace, settings.tenants, now, let_in)

    serve(make_app, _listening(settings, threads=4))


def _listening(settings: Settings, threads: int) -> ServerSettings:
    return ServerSettings(
        port=port(),
        threads=threads,
        graceful_timeout=settings.drain_seconds,
        tls=settings.receiver_tls,
        clients=settings.receiver_tls_clients,
    )


def develop(arguments: Sequence[str]) -> None:
    """Run everything on this machine until told to stop."""
    from knative_lambda.handler.local import dev, options  # noqa: PLC0415 - see the module's docstring

    given = options.read(arguments)
    logs.configure(sys.stdout, verbose=given.verbose)
    dev.run(given)


def main() -> int:
    """Run the process that the command line names; return its exit code."""
    if sys.argv[1:2] == ["dev"]:
        develop(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="knative-lambda-service", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="take events on a cluster")
    commands.add_parser("deadletters", help="keep events that nobody could handle")
    commands.add_parser("dev", help="run everything on this machine, without a cluster")
    arguments = parser.parse_args()
    logs.configure(sys.stdout)
    try:
        {"serve": receiver, "deadletters": dead_letters}[arguments.command](read())
    except BadSettings as faults:
        sys.stderr.write(f"the settings are wrong:\n{faults}\n")
        return WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main())
