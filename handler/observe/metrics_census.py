"""The census as Prometheus reads it: made anew from its numbers at each scrape, and nothing before the first sweep.

Joined in `__main__.py`. Several pods may have counted, at different moments: whoever reads takes those whose
``knative_lambda_census_time_seconds`` is the greatest, as the recording rules do.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from knative_lambda.handler.observe.census import Census

BUCKETS = (1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Upper bounds, in seconds; a build's deadline is half an hour."""
GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "builds": ("Builds on record", ("phase", "reason", "builder")),
    "ended": ("Builds that ended in the last hour", ("phase", "reason", "builder", "whose")),
    "dependencies": ("What became of the dependencies of these", ("outcome",)),
    "waiting": ("Builds that wait", ("for",)),
    "functions": ("Functions, by whether they are ready", ("ready",)),
}
TENANTS = 100
"""Tenants that have series of their own: the first by name. There are as many as an installation's settings name."""
NAMES = {"ended": "builds_ended", "dependencies": "builds_dependencies", "waiting": "builds_waiting"}


class CensusMetrics(Collector):
    """Shows a census; `product` is the product's own namespace, whose dead letters are told apart."""

    def __init__(self, census: Census, product: str, prefix: str) -> None:
        self._census, self._product, self._prefix = census, product, prefix

    def describe(self) -> Iterator[Metric]:
        """Return nothing: a registry that asks for names must not count."""
        yield from ()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric as of the last sweep of this process."""
        if self._census.at is None:
            return
        counted = self._census.total()
        for name, (meaning, labels) in GAUGES.items():
            yield self._gauge(NAMES.get(name, name), meaning, labels, getattr(counted, name))
        yield from self._by_tenant()
        letters = self._census.dead_letters(self._product).items()
        yield self._gauge("dead_letters", "Events that nobody could handle", ("of",), {(k,): v for k, v in letters})
        new = self._census.dead_letters_lately(self._product).items()
        yield self._gauge("dead_letters_lately", "Those of the last hour", ("of",), {(k,): v for k, v in new})
        yield self._gauge("builds_waiting_oldest_seconds", "Of the Build that waits longest", (), {(): counted.oldest})
        yield self._histogram("build_seconds", "Of each step, in the last hour", ("step", "builder"), counted.took)
        yield self._histogram("function_ready_seconds", "Until first ready, in the last hour", (), counted.became_ready)
        yield self._gauge("census_time_seconds", "When these were counted", (), {(): self._census.at.timestamp()})

    def _by_tenant(self) -> Iterator[Metric]:
        """Yield the numbers that a tenant is told by: few, since each is a series for each of them."""
        ended: Counter[tuple[str, ...]] = Counter()
        waiting, functions, letters = Counter(ended), Counter(ended), Counter(ended)
        for tenant, counted in sorted(self._census.tenants().items())[:TENANTS]:
            for (phase, _, _, whose), number in counted.ended.items():
                ended[tenant, phase, whose] += number
            waiting[(tenant,)] = counted.waiting.total()
            functions.update({(tenant, *labels): number for labels, number in counted.functions.items()})
            letters[(tenant,)] = self._census.letters_of(tenant)
        by = ("tenant",)
        yield self._gauge("tenant_builds_ended", "Builds that ended in the last hour", (*by, "phase", "whose"), ended)
        yield self._gauge("tenant_builds_waiting", "Builds that wait", by, waiting)
        yield self._gauge("tenant_functions", "Functions, by whether they are ready", (*by, "ready"), functions)
        yield self._gauge("tenant_dead_letters", "Events that nobody could handle", by, letters)

    def _gauge(
        self, name: str, meaning: str, labels: Sequence[str], values: Mapping[tuple[str, ...], float]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(self._prefix + name, meaning, labels=labels)
        for given, value in values.items():
            family.add_metric(given, value)
        return family

    def _histogram(
        self, name: str, meaning: str, labels: Sequence[str], values: Mapping[tuple[str, ...], list[float]]
    ) -> GaugeHistogramMetricFamily:
        family = GaugeHistogramMetricFamily(self._prefix + name, meaning, labels=labels)
        for given, seconds in values.items():
            below = [(f"{bound:g}", float(sum(one <= bound for one in seconds))) for bound in BUCKETS]
            family.add_metric(given, [*below, ("+Inf", float(len(seconds)))], sum(seconds))
        return family
