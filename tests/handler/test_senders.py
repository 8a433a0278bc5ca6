"""What sends to Brokers: never for a request that is being served, and not for long when the process ends."""

import threading

from support.world import World

from knative_lambda.handler.tell.senders import Senders


def test_nothing_is_sent_while_the_request_that_owes_it_is_being_served(world: World) -> None:
    """Not even by the senders' own threads: the answer goes out first. Who serves nobody is not held."""
    world.broker = 0
    world.start()
    world.broker = 202
    world.told.clear()
    asked: list[str] = []
    senders = Senders.over(world.cluster, world.store, world.settings, world._post)
    senders.postman.look_at = lambda _, name: asked.append(name)  # type: ignore[method-assign]
    senders.start()
    senders.hold()
    senders.owes("acme", "hello")
    senders.look_at("acme", "letter")
    other = threading.Thread(target=senders.look_at, args=("acme", "another"))
    other.start()
    other.join()
    assert (world.told_types(), asked) == ([], ["another"])
    senders.release()
    senders.stop(timeout=60)
    assert (world.told_types(), asked) == (["build.started"], ["another", "letter"])
