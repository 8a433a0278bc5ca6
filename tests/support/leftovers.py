"""What is left behind by builds and deletions, and the time after which it is collected: for the tests of retention."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from support.world import World

from knative_lambda.deploy.cluster import REVISION, Kind
from knative_lambda.handler.product import Product
from knative_lambda.handler.upkeep import retention
from knative_lambda.schemas import names

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REPOSITORY = "registry/acme/hello"


class Delegate:
    """A port that does what another one does, but for what a test overrides."""

    def __init__(self, port: Any) -> None:
        self.port = port

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


def over(world: World, **ports: Any) -> Product:
    return replace(world.product, workshop=replace(world.product.workshop, **ports))


def up(world: World, name: str = "hello", image: str = "one", **data: Any) -> str:
    """Bring a function up with a log and an image of its own; return the reference that its attempt pushed."""
    world.start(name, **data)
    attempt = world.attempt(name)
    world.builder.logs[attempt] = b"built"
    world.finish(name, digest=names.sha256(image))
    world.knative(name)
    return f"registry/acme/{name}:{attempt}"


def forgotten(world: World) -> None:
    """Leave two functions' things behind, ready to be collected, beside another tenant's function."""
    world.start("theirs", tenant="other")
    for name in ("hello", "hello-2"):
        up(world, name, image=name)
        world.delete(name)
    world.time += DAY + HOUR


def later(world: World, time: timedelta = DAY + HOUR) -> None:
    """Let time pass, and tick at the full hour."""
    world.time = (world.time + time).replace(minute=0, second=0)
    world.tick()


def stored(world: World, *sorts: str) -> list[str]:
    return [one.key for one in world.store.list("") if not sorts or one.key.split("/")[0] in sorts]


def everything(world: World) -> tuple[list[str], dict[str, str], list[str]]:
    builds = [build["metadata"]["name"] for tenant in ("acme", "other") for build in world.builds(tenant)]
    return stored(world), dict(world.registry.known), builds


def removes_nothing(world: World, **ports: Any) -> None:
    before = everything(world)
    retention.collect(over(world, **ports))
    assert everything(world) == before
    retention.collect(world.product)
    assert everything(world) != before, "without the fault something would have gone"


def running(world: World, image: str, tenant: str, kind: Kind) -> None:
    container = {"containers": [{"image": image}]}
    spec = container if kind == REVISION else {"template": {"spec": container}}
    meta = {"name": "running", "namespace": tenant}
    world.cluster.create(kind, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, "spec": spec})


def context(text: str) -> str:
    return f"contexts/acme/hello/{names.sha256(text).removeprefix('sha256:')}.tar.gz"
