"""What the records say, counted while the sweep has them in its hands: exact, whatever became of the pods before.

Called by `sweep.py` and `letters.py`, which list all of this anyway; read by `metrics_census.py`. A count here is of
what stands on the cluster, and "lately" is what has ended within the last hour by its own record: retention leaves that
alone. So a pod that dies takes no number with it, and the next sweep counts the same.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from knative_lambda.builds import record
from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import condition

LATELY = timedelta(hours=1)
"""What has ended within this is counted as ended; `expiry.SETTLED` keeps it for as long."""
USERS = frozenset(
    {
        *("BuildFailed", "DeadlineExceeded", "DependenciesFailed", "NoOutput", "OOMKilled"),
        *("RuntimeNotSupported", "SecretMissing", "SourceRefused"),
    }
)
"""Reasons of failures that are the user's own."""
REASONS = USERS | {
    *("Built", "BuiltOutside", "Reused", "Superseded", "Cancelled", "FunctionDeleted"),
    *("BaseMissing", "BaseRefused", "ContextNotFetched", "Disrupted", "Evicted", "ImageMissing", "JobFailed"),
    *("KeyUnusable", "PodNotMade", "PodNotStarted", "PodRefused", "QuotaExceeded", "Refused", "RegistryRefused"),
    *("RegistryUnavailable", "RegistryUntrusted", "ErrImagePull", "ImagePullBackOff", "Unschedulable"),
}
"""What is shown as a reason; the platform has more words, and an outside builder any: those are ``other``."""
OTHER = "other"
BUILDERS = ("external", "kaniko", "layer", "local")
DEPENDENCIES = {"Cached": "cached", "Built": "installed"}


def _none(*labels: str) -> Counter[tuple[str, ...]]:
    """Return zeros: what is not shown any more would stand for a while as it was."""
    return Counter({(label,): 0 for label in labels})


@dataclass
class Counted:
    """The numbers of some records; each is by the labels that `metrics_census.py` names."""

    builds: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """All Builds: phase, reason, builder."""
    ended: Counter[tuple[str, ...]] = field(default_factory=Counter)
    """Those that ended lately: phase, reason, builder, whose failure."""
    dependencies: Counter[tuple[str, ...]] = field(default_factory=lambda: _none("cached", "installed", "failed"))
    """What became of the dependencies of those: ``cached``, ``installed``, ``failed``."""
    waiting: Counter[tuple[str, ...]] = field(default_factory=lambda: _none("slot", "twin"))
    """Builds that wait for a ``slot``, or for a ``twin`` that makes the same."""
    oldest: float = 0.0
    """Seconds that the oldest of them has waited."""
    functions: Counter[tuple[str, ...]] = field(default_factory=lambda: _none("True", "False", "Unknown"))
    """Functions by whether they are ready."""
    took: dict[tuple[str, ...], list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds of each step of the Builds that ended lately: step, builder."""
    became_ready: dict[tuple[str, ...], list[float]] = field(default_factory=lambda: defaultdict(list))
    """Seconds from a Function's creation until it was ready, of those that first were lately."""

    def add(self, other: "Counted") -> None:
        """Add another one's numbers."""
        for name in ("builds", "ended", "dependencies", "waiting", "functions"):
            getattr(self, name).update(getattr(other, name))
        for name in ("took", "became_ready"):
            for labels, seconds in getattr(other, name).items():
                getattr(self, name)[labels].extend(seconds)
        self.oldest = max(self.oldest, other.oldest)


class Census:
    """The newest numbers, tenant by tenant; any thread may ask for all of them."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, str], Counted] = {}
        self._letters: dict[str, tuple[int, int]] = {}
        self.at: datetime | None = None
        """When the last sweep had been everywhere, None before the first; what it could not list is as before."""

    def functions(self, tenant: str, listed: Iterable[Object], now: datetime) -> None:
        """Count a tenant's Functions, in place of what was counted before."""
        counted = Counted()
        for function in listed:
            _count_function(function, counted, now)
        self._counted["functions", tenant] = counted

    def builds(self, tenant: str, listed: Iterable[Object], now: datetime) -> None:
        """Count a tenant's Builds, in place of what was counted before."""
        counted = Counted()
        for build in listed:
            _count_build(build, counted, now)
        self._counted["builds", tenant] = counted

    def letters(self, namespace: str, number: int, lately: int = 0) -> None:
        """Note how many dead letters a namespace has, and how many of them came lately."""
        self._letters[namespace] = number, lately

    def done(self, now: datetime) -> None:
        """Note that a sweep has been everywhere, or tried."""
        self.at = now

    def total(self) -> Counted:
        """Return the numbers of all tenants together."""
        total = Counted()
        for counted in list(self._counted.values()):
            total.add(counted)
        return total

    def tenants(self) -> Mapping[str, Counted]:
        """Return the numbers of each tenant."""
        found: defaultdict[str, Counted] = defaultdict(Counted)
        for (_, tenant), counted in list(self._counted.items()):
            found[tenant].add(counted)
        return found

    def letters_of(self, tenant: str) -> int:
        """Return how many dead letters a tenant's functions have."""
        return self._letters.get(tenant, (0, 0))[0]

    def dead_letters(self, product: str) -> Mapping[str, int]:
        """Return how many dead letters there are of the ``product``, whose namespace is given, and of ``functions``."""
        return self._by_whose(product, 0)

    def dead_letters_lately(self, product: str) -> Mapping[str, int]:
        """Return how many of these came lately: those that are kept stand at their bound in a flood."""
        return self._by_whose(product, 1)

    def _by_whose(self, product: str, which: int) -> Mapping[str, int]:
        letters = {namespace: numbers[which] for namespace, numbers in list(self._letters.items())}
        own = letters.pop(product, 0)
        return {"product": own, "functions": sum(letters.values())}


def _count_build(build: Object, counted: Counted, now: datetime) -> None:
    phase, end = record.phase(build), condition(build, "Succeeded")
    builder = build["spec"]["builder"] if build["spec"]["builder"] in BUILDERS else OTHER
    reason = end.get("reason", "") if phase in record.TERMINAL else ""
    reason = reason if reason in REASONS or not reason else OTHER
    counted.builds[phase, reason, builder] += 1
    if wait := "slot" if record.waits(build) else "twin" if record.shares(build) else "":
        counted.waiting[(wait,)] += 1
        counted.oldest = max(counted.oldest, _seconds(build["metadata"]["creationTimestamp"], now.isoformat()))
    if phase in record.TERMINAL and _is_recent(end, now):
        counted.ended[phase, reason, builder, _whose(phase, reason, builder)] += 1
        installed = condition(build, record.INSTALLED)
        if installed.get("reason"):
            counted.dependencies[(DEPENDENCIES.get(installed["reason"], "failed"),)] += 1
        for step, seconds in _steps(build, end["lastTransitionTime"]):
            counted.took[step, builder].append(seconds)


def _count_function(function: Object, counted: Counted, now: datetime) -> None:
    ready = condition(function, "Ready")
    counted.functions[(ready["status"],)] += 1
    if ready["status"] == "True" and _is_recent(ready, now):
        made = function["metadata"]["creationTimestamp"]
        is_first = function["metadata"].get("generation", 1) == 1  # one that was changed may have been ready before
        if is_first and now - datetime.fromisoformat(made) <= LATELY:  # so has an older one
            counted.became_ready[()].append(_seconds(made, ready["lastTransitionTime"]))


def _whose(phase: str, reason: str, builder: str) -> str:
    """Return whose a failure is: the ``user``'s, where it is theirs or an outside builder's, or the ``platform``'s."""
    if phase != "Failed":
        return ""
    return "user" if reason in USERS or builder == "external" else "platform"


def _steps(build: Object, ended: str) -> Iterator[tuple[str, float]]:
    """Yield how long each step of a Build took, by the moments on its record; those are whole seconds."""
    made, began = build["metadata"]["creationTimestamp"], build.get("status", {}).get("startTime")
    pushed = condition(build, record.PUSHED)
    yield "all", _seconds(made, ended)
    if began:
        yield "wait", _seconds(made, began)
        until = pushed["lastTransitionTime"] if pushed["status"] == "True" else ended
        yield "build", _seconds(began, until)
    if pushed["status"] == "True":
        yield "sign", _seconds(pushed["lastTransitionTime"], ended)


def _is_recent(told: Mapping[str, str], now: datetime) -> bool:
    moment = told.get("lastTransitionTime")
    return moment is not None and now - datetime.fromisoformat(moment) <= LATELY


def _seconds(begin: str, end: str) -> float:
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds())
