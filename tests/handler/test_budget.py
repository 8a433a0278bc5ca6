"""What a code change asks of API server and registry before its Service is applied: each call with its reason."""

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
    estate, calls = Estate(layers=True), list[str]()
    estate.deliver(start()(estate))
    estate.rest()
    around = estate.handler.around

    def heard(call: Call, do: Callable[[], Any]) -> Any:
        calls.append(str(call))
        return around(call, do)

    estate.handler.around = heard  # type: ignore[method-assign]
    _, estate.product = estate.process(estate.handler)
    estate.handler.begin()
    estate.deliver(event(estate))
    return calls


def test_a_code_change_costs_what_is_listed_here_and_no_more() -> None:
    """Whoever adds a call says here what it is for."""
    calls = calls_of(start("two"))
    until = calls.index("cluster.apply Service") + 1
    cluster = [call.removeprefix("cluster.") for call in calls[:until] if call.startswith("cluster.")]
    assert cluster == [call for call, _ in CLUSTER]
    assert [call for call in calls if call.startswith(("registry.", "pusher."))] == [call for call, _ in REGISTRY]


def test_the_same_source_again_costs_one_write_and_one_question_to_the_registry() -> None:
    calls = [call for call in calls_of(start()) if call.startswith(("cluster.", "registry.", "pusher."))]
    assert calls == [call for call, _ in SAME_AGAIN]
