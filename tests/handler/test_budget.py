"""What the ways that senders wait for ask of API server, store and registry: each call with its reason."""

from collections.abc import Callable
from typing import Any

from support.estate import Estate
from support.stories import start

from knative_lambda.handler.effects import Call
from knative_lambda.handler.events import Event

CLUSTER = (
    ("get Namespace", "whether it is a tenant's"),
    ("get Function", "what it has seen and is now"),
    ("replace Function", "the commit point"),
    ("get Function", "converge believes nothing but what is there"),
    ("get Build", "the one until now"),
    ("get Build", "the one of this input, which may be there"),
    ("replace_status Function", "which Build is wanted, before that is made"),
    ("create Build", "its name is the lock"),
    ("replace_status Build", "how it ended, with all of its steps"),
    ("list Trigger", "which ones are no more wanted"),
    ("get ServiceAccount", "whether it is as it should be"),
    ("get Service", "the same"),
    ("apply Service", "the new version"),
    ("replace_status Function", "what people read, and what is owed"),
)
SAME_AGAIN = (
    ("cluster.get Namespace", "whether it is a tenant's"),
    ("cluster.get Function", "what it has seen and is now"),
    ("cluster.get Build", "which image it has"),
    ("registry.digest", "whether that is there still"),
    ("cluster.replace Function", "the order"),
    ("cluster.get ServiceAccount", "whether it is as it should be, which no report and no sweep tells"),
    ("cluster.get Service", "the same"),
)
JOB = (
    ("cluster.get Namespace", "whether it is a tenant's"),
    ("cluster.get Function", "there is none"),
    ("store.list tombstones", "nor has a newer event removed it"),
    ("store.put contexts", "the source, before it is named"),
    ("registry.digest", "the base, by its tag"),
    ("cluster.create Function", "the commit point"),
    ("store.list tombstones", "a newer event may have come in between"),
    ("cluster.get Function", "converge believes nothing but what is there"),
    ("cluster.get Build", "the one of this input, which may be there"),
    ("cluster.replace_status Function", "which Build is wanted, before that is made"),
    ("cluster.create Build", "its name is the lock"),
    ("cluster.create Lease", "nobody makes the same now: its name is the lock"),
    ("cluster.list Build", "whether it was made before"),
    ("cluster.list Lease", "the slot that a twin, or a handler that died, has taken for it"),
    ("cluster.list Lease", "whether anybody waits: one ticket is enough"),
    ("cluster.create Lease", "a slot of the tenant's: its name is the lock"),
    ("cluster.create Lease", "a slot of all"),
    ("cluster.replace_status Build", "the attempt, before it begins"),
    ("builder.start", "the attempt"),
    ("store.presign contexts", "what its Pod may read: no request"),
    ("cluster.create Job", "what all of this is for"),
    ("cluster.create Secret", "what its Pod pushes with, where tokens are minted: owned by the Job"),
    ("cluster.replace_status Build", "that it has begun"),
    ("cluster.get Service", "what runs until then"),
    ("cluster.replace_status Function", "what people read, and what is owed"),
    ("product.owes", "it is sent after the answer"),
)
REGISTRY = (
    ("registry.digest", "the base, by its tag"),
    ("pusher.manifest", "the base's layers"),
    ("pusher.blob", "the base's config"),
    ("pusher.bring", "a layer of the base: there already, or mounted"),
    ("pusher.bring", "the other one"),
    ("pusher.put", "the code"),
    ("pusher.put", "the config"),
    ("pusher.tag", "the image"),
    ("registry.digest", "what there is, whatever was said to be pushed"),
)


def calls_of(event: Callable[[Estate], Event]) -> list[str]:
    """Return what an event asks of the ports, for a function that is there and ready."""
    estate = Estate(layers=True)
    estate.deliver(start()(estate))
    estate.rest()
    calls = heard(estate)
    estate.deliver(event(estate))
    return calls


def heard(estate: Estate) -> list[str]:
    """Return a list to which every call of the ports is added from now on."""
    calls, around = list[str](), estate.handler.around

    def hear(call: Call, do: Callable[[], Any]) -> Any:
        calls.append(str(call))
        return around(call, do)

    estate.handler.around = hear  # type: ignore[method-assign]
    _, estate.product = estate.process(estate.handler)
    estate.handler.begin()
    return calls


def test_a_code_change_costs_what_is_listed_here_and_no_more() -> None:
    """Whoever adds a call says here what it is for."""
    calls = calls_of(start("two"))
    cluster = [call.removeprefix("cluster.") for call in calls if call.startswith("cluster.")]
    assert cluster == [call for call, _ in CLUSTER]
    assert [call for call in calls if call.startswith(("registry.", "pusher."))] == [call for call, _ in REGISTRY]


def test_the_way_from_an_event_to_a_job_costs_what_is_listed_here_and_no_more() -> None:
    """Of a function that is new; nothing but these says how soon Kaniko begins."""
    estate = Estate(layers=False, builds_reuse="tenant")
    calls = heard(estate)
    estate.deliver(start()(estate))
    assert calls == [call for call, _ in JOB]


def test_the_same_source_again_costs_one_write_and_one_question_to_the_registry() -> None:
    calls = [call for call in calls_of(start()) if call.startswith(("cluster.", "registry.", "pusher."))]
    assert calls == [call for call, _ in SAME_AGAIN]
