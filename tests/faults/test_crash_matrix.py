"""The handler is killed before and after every single effect of every use case, and the end is as if it had not been.

An effect is a call of a port that changes the world. The ports are found by walking the product, the effects by running
each story once undisturbed. Then, for each effect, the process dies there, with all that it had in memory; either the
event is delivered again, or it never is, and only the clock's tick and the cluster's own reports come. What there is at
rest, and what subscribers were told, is compared as a whole.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support import faults
from support.estate import Estate, difference
from support.faults import Killed
from support.stories import STORIES, Story, tick

from knative_lambda.builds.builder import Builder
from knative_lambda.builds.images.pusher import Pusher
from knative_lambda.builds.images.registry import Registry
from knative_lambda.builds.jobs.issuer import Issuer
from knative_lambda.deploy.cluster import Cluster
from knative_lambda.deploy.embedded.programs import Images
from knative_lambda.deploy.reviews import Reviews
from knative_lambda.handler.access.caller import Authenticator
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.api.records import Ask
from knative_lambda.handler.audit.sink import Sink
from knative_lambda.handler.effects import READS, Call, ports
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive.door import Door
from knative_lambda.handler.router import handle
from knative_lambda.handler.tell.broker import Broker
from knative_lambda.handler.tell.hooks import Hook
from knative_lambda.storage.bounded import Readable
from knative_lambda.storage.store import Store

EFFECTS = Path(__file__).parent / "effects.txt"
NO_PORTS = {
    Door: "what the HTTP door calls: the handler itself",
    ReadModel: "reads for people, through the same Cluster and Store",
    Authenticator: "says who asks, before anything is done; a signature is taken by the same Cluster",
    Ask: "lets somebody read",
    Sink: "takes copies of the audit trail, in a thread of its own",
    Images: "what the embedded mode runs functions from",
    Issuer: "signs, and asks nobody",
    Readable: "the body of an answer",
}
"""Protocols of the service through which no use case changes the world."""
FOR_PEOPLE = {("cluster", "page")}
"""Calls that no use case makes: lists under ``/v1`` do."""
AT_THE_DOOR = {"reviews"}
"""Ports that are asked before any use case begins."""
Crash = tuple[int, str]


def begun(story: Story) -> Estate:
    estate = Estate(**story.settings)
    story.before(estate)
    estate.handler.begin()
    return estate


def undisturbed(story: Story) -> Estate:
    estate = begun(story)
    estate.deliver(story.event(estate))
    return estate


def at_rest(estate: Estate, *, told: bool = True) -> dict[str, str]:
    estate.rest(told=told)
    estate.collect()
    return estate.picture()


def crashed(story: Story, at: Crash) -> tuple[Estate, Event]:
    """Return the estate right after the crash, and the event that was being handled."""
    estate = begun(story)
    event = story.event(estate)
    estate.handler.begin(at)
    with pytest.raises(Killed):
        estate.deliver(event)
    estate.crash()
    return estate, event


def never_came(story: Story) -> dict[str, str]:
    estate = begun(story)
    story.event(estate)
    estate.deliver(tick(estate))
    at_rest(estate)
    return cleared(estate)


def cleared(estate: Estate) -> dict[str, str]:
    """Return what is left once all is removed that nothing needs."""
    estate.collect(timedelta(days=2))
    return estate.picture()


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_handler_killed_at_any_effect_changes_nothing_in_the_end(
    story: Story, record_property: Callable[[str, object], None]
) -> None:
    first = undisturbed(story)
    effects = list(first.handler.effects)
    done, never = at_rest(first), never_came(story)
    points = [(number, side) for number in range(len(effects)) for side in ("before", "after")]
    committed = points.index((effects.index(story.commit), "after")) if story.commit else 0
    known: dict[str, str] = {}
    wrong = []
    for step, at in enumerate(points):
        for again in (True, False):
            estate, event = crashed(story, at)
            same = repr((again, step >= committed, estate.picture()))  # what begins the same goes on the same
            if same not in known:
                known[same] = ""
                estate.deliver(event if again else tick(estate))
                end = at_rest(estate, told=again)
                came = again or step >= committed
                known[same] = difference(end, done) if came else difference(cleared(estate), never)
            if known[same]:
                how = "delivered again" if again else "only swept"
                wrong.append(f"killed {at[1]} effect {at[0]}, {effects[at[0]]}, then {how}:\n{known[same]}")
    record_property("crash_points", len(points))
    record_property("effects", len(effects))
    assert not wrong, "\n".join(wrong[:6]) + f"\n{len(wrong)} of {2 * len(points)}"


def test_the_effects_of_all_use_cases_are_those_on_record() -> None:
    """What a real cluster's run records is held against the same file."""
    found = {effect for story in STORIES for effect in undisturbed(story).handler.effects}
    assert sorted(found) == EFFECTS.read_text().splitlines(), "write them into effects.txt, if they are meant"


def test_every_protocol_of_the_service_is_a_port_that_is_wrapped() -> None:
    """A new one is wrapped by itself where it is a field of what is joined, or said to be no port."""
    wrapped = {hint for thing in joined(Estate()) for _, _, hint in ports(thing) if isinstance(hint, type)}
    assert wrapped == {Broker, Builder, Cluster, Hook, Pusher, Registry, Reviews, Store}
    assert faults.protocols() == wrapped | set(NO_PORTS)


def joined(estate: Estate) -> list[object]:
    product = estate.product
    return [product, product.workshop, product.workshop.slots, estate.ports]


@pytest.mark.parametrize("port", [Builder, Cluster, Pusher, Registry, Store], ids=lambda port: port.__name__)
def test_what_is_said_to_read_is_there_to_be_called(port: type) -> None:
    methods = {name for name, made in vars(port).items() if callable(made) and not name.startswith("_")}
    assert READS[port.__name__.lower()] < methods


def test_a_call_that_is_said_to_read_changes_nothing() -> None:
    """Held in every story, at every such call; so a method that is said to read and writes does not get through."""
    read: set[tuple[str, str]] = set()
    for story in STORIES:
        estate = begun(story)

        def check(call: Call, do: Callable[[], Any], estate: Estate = estate) -> Any:
            before = trace(estate)
            result = do()
            assert trace(estate) == before, str(call)
            read.add((call.port, call.method))
            return result

        estate.handler.on_read = check
        estate.deliver(story.event(estate))
    in_use_cases = READS.keys() - AT_THE_DOOR
    assert read == {(port, method) for port in in_use_cases for method in READS[port]} - FOR_PEOPLE


def trace(estate: Estate) -> object:
    """Return what differs after any change, without looking at what it was."""
    stored = [(stored.key, stored.modified, stored.size) for stored in estate.store.list("")]
    pushed = sum(map(len, estate.pusher.blobs.values()))
    return estate.changes, stored, dict(estate.registry.known), pushed, len(estate.told)


def test_nothing_is_posted_while_an_event_is_handled() -> None:
    """Two handlers that post to the Broker that serves them wait for each other."""
    for story in STORIES:
        estate = begun(story)
        handle(story.event(estate), estate.product)
        assert "broker.post" not in estate.handler.effects, story.name
