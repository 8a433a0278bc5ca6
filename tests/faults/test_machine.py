"""Any story at all: events of a few functions in any order, doubled, delayed, overlapping, with crashes in between.

Whatever happens on the way, once everything was delivered and the world is at rest the newest event of each function
has its way, and nothing is left over. ``FAULTS_EXAMPLES=2000 pytest tests/faults/test_machine.py`` plays longer, and by
chance.
"""

import os
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.estate import Estate
from support.faults import Handler, Killed
from support.stories import listing, start

from knative_lambda.builds import record
from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, KNATIVE_SERVICE, LEASE, TRIGGER, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler.events import Event
from knative_lambda.handler.router import handle
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Temporary
from knative_lambda.storage import keys

EXAMPLES = int(os.environ.get("FAULTS_EXAMPLES", "0"))
FUNCTIONS = (("acme", "one"), ("acme", "two"), ("other", "one"))
IMAGE = "elsewhere/thing@sha256:" + "1" * 64
TENANT_LIMIT, LIMIT = 1, 2
DELIVERIES = 40
Place = tuple[str, str]

places = st.sampled_from((FUNCTIONS[0], *FUNCTIONS))
STARTS = ("v1", "v2", "v1 again", "laid", "laid again", "listed", "listed again", "image")
WORDS = (*STARTS, types.BUILD_CANCEL, types.FUNCTION_DELETE)
words = st.tuples(st.sampled_from(WORDS), places)
queued = st.integers(0, 30)
calls = st.integers(1, 60)
fates = st.sampled_from(["ok", "ok", "user", "evicted", "unpushed"])


class Story(RuleBasedStateMachine):
    """The product, its cluster, a Broker's queue of events, and three functions of two tenants."""

    def __init__(self) -> None:
        super().__init__()
        self.estate = Estate(builds_per_tenant=TENANT_LIMIT, builds_at_once=LIMIT, layers=True, builds_reuse="tenant")
        self.queue: list[Event] = []
        self.sent: dict[Place, list[Event]] = {place: [] for place in FUNCTIONS}
        self.had_ended: set[str] = set()
        """Builds that had succeeded before every event had been delivered."""
        self.by_hand = 0
        """Jobs that somebody deleted."""

    @initialize(sequences=st.tuples(*[st.booleans()] * len(FUNCTIONS)), first=st.lists(words, min_size=3, max_size=8))
    def begin(self, sequences: tuple[bool, ...], first: list[tuple[str, Place]]) -> None:
        self.has_sequence = dict(zip(FUNCTIONS, sequences, strict=True))
        for word, place in first:
            self.send(word, place)

    # what senders do

    @rule(word=words)
    def say(self, word: tuple[str, Place]) -> None:
        self.send(*word)

    def send(self, word: str, place: Place) -> None:
        where = {"tenant": place[0], "name": place[1]}
        if word in (types.BUILD_CANCEL, types.FUNCTION_DELETE):
            self._send(place, word, where)
            return
        version, _, again = word.partition(" ")
        more: dict[str, Any] = {} if version in ("laid", "listed") else {"builder": "kaniko"}
        more |= {"source": {"image": IMAGE}} if version == "image" else {}
        more |= {"rebuild": True} if again else {}
        made = (listing if version == "listed" else start)(version, **where, triggers=[{"type": version}], **more)(
            self.estate
        )
        self._send(place, made.type, made.data)

    def _send(self, place: Place, kind: str, data: Object) -> None:
        number = len(self.sent[place]) + 1
        sequence = {"sequence": number} if self.has_sequence[place] else {}
        event = self.estate.event(kind, {**data, **sequence}, id=f"{'/'.join(place)}#{number}")
        self.sent[place].append(event)
        self.queue.append(event)

    # what the Broker does

    @precondition(lambda self: self.queue)
    @rule(which=queued, twice=st.booleans())
    def deliver(self, which: int, *, twice: bool) -> None:
        event = self.queue[which % len(self.queue)]
        if self._handle(event) and not twice:
            self.queue.remove(event)
        self._tell()

    @precondition(lambda self: self.queue)
    @rule(which=queued, beside=queued, number=calls, third=queued, deeper=calls)
    def deliver_overlapping(self, which: int, beside: int, number: int, third: int, deeper: int) -> None:
        """While one event is handled another replica handles another, whole, and in the middle of that one a third."""
        outer, inner, innermost = (self.queue[one % len(self.queue)] for one in (which, beside, third))
        done = []

        def deepest(call: int) -> None:
            if call == deeper and self._handle(innermost, Handler()):
                done.append(innermost)

        def meanwhile(call: int) -> None:
            if call == number:
                other = Handler()
                other.interrupt = deepest
                if self._handle(inner, other):
                    done.append(inner)

        self.estate.handler.begin()
        self.estate.handler.interrupt = meanwhile
        try:
            if self._handle(outer):
                done.append(outer)
        finally:
            self.estate.handler.interrupt = lambda _: None
        self.queue = [event for event in self.queue if event not in done]
        self._tell()

    @precondition(lambda self: self.queue)
    @rule(which=queued, number=st.integers(0, 25), side=st.sampled_from(["before", "after"]))
    def die_of(self, which: int, number: int, side: str) -> None:
        """Kill the handler in the middle of an event: the Broker has no answer, and delivers again."""
        self._die(self.queue[which % len(self.queue)], number, side)

    @precondition(lambda self: self.queue)
    @rule(which=queued, number=calls, beside=queued, side=st.sampled_from(["before", "after"]), at=st.integers(0, 25))
    def die_beside(self, which: int, number: int, beside: int, side: str, at: int) -> None:
        """Kill one replica in the middle of its event, in the middle of which another one handled another."""
        outer, inner = (self.queue[one % len(self.queue)] for one in (which, beside))

        def meanwhile(call: int) -> None:
            if call == number and self._handle(inner, Handler()) and inner is not outer:
                self.queue.remove(inner)

        self.estate.handler.interrupt = meanwhile
        try:
            self._die(outer, at, side)
        finally:
            self.estate.handler.interrupt = lambda _: None

    @rule(number=st.integers(0, 25), side=st.sampled_from(["before", "after"]))
    def die_of_a_tick(self, number: int, side: str) -> None:
        self._die(self.estate.event(types.PING, {}), number, side)

    @rule(seconds=st.integers(1, 400))
    def tick(self, seconds: int) -> None:
        self.estate.wait(seconds)
        self._handle(self.estate.event(types.PING, {}))
        self._tell()

    # what the cluster does

    @rule(which=queued, fate=fates, told=st.booleans())
    def end_build(self, which: int, fate: str, *, told: bool) -> None:
        self.estate.make_pods()
        running = [(tenant, name) for tenant in ("acme", "other") for name in self.estate.running(tenant)]
        if not running:
            return
        tenant, name = running[which % len(running)]
        job = self.estate.cluster.get(JOB, names.builds_namespace(tenant), name)
        assert job is not None
        pod = self.estate.end_pod(job, fate)
        if told:
            self._handle(self.estate.reported("Pod", names.builds_namespace(tenant), pod))
            self._tell()

    @rule(told=st.booleans(), status=st.sampled_from([202, 503]))
    def serve(self, *, told: bool, status: int) -> None:
        """Let Knative do its work; the Brokers are up or down from now on."""
        self.estate.broker = status
        for report in self.estate.serve():
            if told:
                self._handle(self.estate.reported(*report))
        self._tell()

    @rule(which=queued, kind=st.sampled_from(["", "Function", "Build", "Pod", "Job", "Service", "Revision", "Trigger"]))
    def report(self, which: int, kind: str) -> None:
        """Report anything that is there, as what it is or as something else."""
        there = self.estate.objects()
        if there:
            found, body = there[which % len(there)]
            meta = body["metadata"]
            self._handle(self.estate.reported(kind or found.kind, meta["namespace"], meta["name"]))
            self._tell()

    @rule(which=queued)
    def delete_image(self, which: int) -> None:
        """Delete an image in the registry by hand."""
        there = sorted(name for name in self.estate.registry.known if "-" in name.rpartition(":")[2])
        if there:
            repository, _, tag = there[which % len(there)].rpartition(":")
            self.estate.vanish(repository, self.estate.registry.known[f"{repository}:{tag}"])

    @rule(which=queued)
    def delete_job(self, which: int) -> None:
        """Delete a Job by hand, as its time to live does, and let what was cancelled have pushed its image by now."""
        for build in (*self.estate.builds("acme"), *self.estate.builds("other")):
            number = build.get("status", {}).get("attempt", 0)
            if record.phase(build) == "Cancelled" and number:
                self.estate.registry.known[record.attempt_of(build, number).destination] = "sha256:" + "9" * 64
        jobs = [job for tenant in ("acme", "other") for job in self.estate.cluster.list(JOB, f"{tenant}-builds")]
        if jobs:
            meta = jobs[which % len(jobs)]["metadata"]
            self.estate.cluster.delete(JOB, meta["namespace"], meta["name"])
            self.by_hand += 1

    # what is always so

    @invariant()
    def no_more_builds_run_than_may(self) -> None:
        running = [len(self.estate.running(tenant)) for tenant in ("acme", "other")]
        assert max(running) <= TENANT_LIMIT
        assert sum(running) <= LIMIT

    @invariant()
    def no_build_runs_twice(self) -> None:
        for tenant in ("acme", "other"):
            builds = [name.rpartition("-")[0] for name in self.estate.running(tenant)]
            assert len(builds) == len(set(builds))

    @invariant()
    def nothing_runs_but_what_was_built_or_given(self) -> None:
        for tenant, name in FUNCTIONS:
            image = self._image((tenant, name))
            assert image is None or image == IMAGE or image in self._built(tenant, name), image

    # what is so in the end

    def teardown(self) -> None:
        self.estate.broker = 202
        for _ in range(DELIVERIES):
            self.queue = [event for event in self.queue if not self._handle(event)]
            self._tell()
        assert not self.queue, "an event is never taken"
        succeeded = [one for tenant in ("acme", "other") for one in self.estate.builds(tenant) if record.image_of(one)]
        self.had_ended = {build["metadata"]["name"] for build in succeeded}
        self.estate.rest(told=False)
        for place, events in self.sent.items():
            if events:
                note(f"{place}: {[(event.type.rpartition('.')[2], event.id) for event in events]}")
                self._newest_has_its_way(place, events[-1])
        for tenant in ("acme", "other"):
            assert all(record.phase(build) in record.TERMINAL for build in self.estate.builds(tenant))
            assert self.estate.cluster.list(LEASE, f"{tenant}-builds") == []
            for function in self.estate.cluster.list(FUNCTION, tenant):
                assert function["status"].get("outbox", []) == []
        assert self.estate.cluster.list(LEASE, "knative-lambda") == []
        assert len(self.estate.jobs_made) - len(set(self.estate.jobs_made)) <= self.by_hand
        lives = [
            function["metadata"]
            for tenant in ("acme", "other")
            for function in self.estate.cluster.list(FUNCTION, tenant)
        ]
        kept = {keys.farewell(meta["namespace"], meta["name"], meta["uid"]) for meta in lives}
        # what was written for a delete that newer source overtook is written anew by the next one
        assert {stored.key for stored in self.estate.store.list("farewells/")} <= kept

    def _newest_has_its_way(self, place: Place, newest: Event) -> None:
        tenant, name = place
        function = self.estate.cluster.get(FUNCTION, tenant, name)
        of_it = {names.FUNCTION_LABEL: name}
        jobs = [job for job in self.estate.running(tenant) if job.startswith(f"{name}-")]
        assert jobs == []
        if newest.type == types.FUNCTION_DELETE:
            left = [(kind.kind, body["metadata"]["name"]) for kind, body in self.estate.objects() if _of(body, place)]
            assert left == []
        elif newest.type == types.BUILD_CANCEL:
            latest = function["status"].get("latestBuild", "") if function else ""
            build = self.estate.cluster.get(BUILD, tenant, latest) if latest else None
            assert build is None or record.phase(build) != "Succeeded" or build["metadata"]["name"] in self.had_ended
        else:
            assert function is not None
            built = condition(function, "Built")
            image = IMAGE if "image" in newest.data["source"] else ""
            if built["status"] == "True":
                image = image or f"registry/{tenant}/{name}@{self.estate.pushed(newest)}"
                assert self._image(place) == image
                assert condition(function, "Ready")["status"] == "True"
            else:
                build = self.estate.cluster.get(BUILD, tenant, function["status"]["latestBuild"])
                assert build is not None
                assert not image
                assert (record.phase(build), built["status"]) == ("Failed", "False"), built
                told = {sent["headers"]["ce-id"] for sent in self.estate.told if sent["answer"] == 202}
                assert f"{build['metadata']['uid']}.{types.BUILD_FAILED}" in told
            triggers = {found["metadata"]["name"] for found in self.estate.cluster.list(TRIGGER, tenant, of_it)}
            if built["status"] == "True":
                assert triggers == _triggers(newest)
            else:  # the version before, if there is one, goes on as it was
                assert triggers in ([set(), *map(_triggers, self.sent[place])])

    def _handle(self, event: Event, handler: Handler | None = None) -> bool:
        """Hand an event to a replica; say whether it was taken."""
        product = self.estate.product if handler is None else self.estate.process(handler)[1]
        try:
            handle(event, product)
        except Temporary:
            return False
        return True

    def _die(self, event: Event, number: int, side: str) -> None:
        self.estate.handler.begin((number, side))
        with suppress(Killed):
            self._handle(event)
            self._tell()
        self.estate.crash()

    def _tell(self) -> None:
        with suppress(Temporary):  # a twin was faster, or the Broker is down: what is owed is found by the sweep
            self.estate.tell()

    def _image(self, place: Place) -> str | None:
        service = self.estate.cluster.get(KNATIVE_SERVICE, *place)
        return service and service["spec"]["template"]["spec"]["containers"][0]["image"]

    def _built(self, tenant: str, name: str) -> set[str]:
        known = {**self.estate.vanished, **self.estate.registry.known}.items()
        return {
            f"registry/{tenant}/{name}@{digest}"
            for tag, digest in known
            if tag.startswith(f"registry/{tenant}/{name}:")
        }


def _triggers(event: Event) -> set[str]:
    return {names.trigger_name(event.data["name"], dict(each)) for each in event.data.get("triggers", [])}


def _of(body: Object, place: Place) -> bool:
    meta = body["metadata"]
    labels = meta.get("labels", {})
    tenant = meta["namespace"].removesuffix("-builds")
    if tenant not in ("acme", "other"):
        tenant = labels.get(names.TENANT_LABEL, "")
    return (tenant, labels.get(names.FUNCTION_LABEL, meta["name"])) == place


TestStory = Story.TestCase
TestStory.settings = settings(
    max_examples=EXAMPLES or 250,
    stateful_step_count=40,
    derandomize=not EXAMPLES,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
