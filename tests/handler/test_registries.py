"""Tenants with a registry of their own: their images lie there, and one that is away stops nobody else."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.images import FakePusher
from support.reviews import FakeReviews
from support.world import START, FakeRegistry, World

from knative_lambda.builds.builder import Ended
from knative_lambda.handler import registries, settings
from knative_lambda.handler.guards import Hooks, Ports
from knative_lambda.schemas.errors import Refused, Temporary, Unavailable
from knative_lambda.schemas.guard import Switches

PREFIX = "acme.test/lambda"
GIVEN = {"acme": {"prefix": PREFIX}}
DEPENDING = {"inline": {"main.py": "def handle(event, context): ...", "requirements.txt": "inflection\n"}}


@pytest.fixture
def world() -> World:
    return World(tenant_registries=GIVEN, layers=True)


def builds(world: World) -> dict[str, str]:
    """Return where the images of each tenant's builds are pushed."""
    return {tenant: build["spec"]["destination"] for tenant in ("acme", "other") for build in world.builds(tenant)}


def test_a_tenants_images_lie_in_its_own_registry_and_nobody_elses_do(world: World) -> None:
    for tenant in ("acme", "other"):
        world.start(tenant=tenant)
    assert builds(world) == {"acme": f"{PREFIX}/acme/hello", "other": "registry/other/hello"}
    assert world.service_image().startswith(f"{PREFIX}/acme/hello@sha256:")
    assert not [name for name in world.registry.known if name.startswith("registry/acme/")]


def test_so_do_its_installed_dependencies(world: World) -> None:
    world.start(source=DEPENDING)
    [attempt] = world.builder.started.values()
    assert attempt.destination.startswith(f"{PREFIX}/acme/dependencies.python:")


def test_without_one_they_lie_in_the_registry_of_all() -> None:
    shared = World(layers=True)
    shared.start()
    assert builds(shared) == {"acme": "registry/acme/hello"}


@pytest.mark.parametrize(
    ("tenant", "image"),
    [("other", f"{PREFIX}/acme/hello"), ("other", f"{PREFIX}/other/hello"), ("acme", f"{PREFIX}/other/hello")],
)
def test_an_image_of_another_tenants_registry_is_no_source(world: World, tenant: str, image: str) -> None:
    with pytest.raises(Refused, match="of this registry"):
        world.start(tenant=tenant, source={"image": f"{image}:1"})


@pytest.mark.parametrize("image", [f"{PREFIX}/acme/ready:1", "registry/acme/before:1", "elsewhere.test/acme/x:1"])
def test_its_own_image_is_one_also_where_it_lay_before(world: World, image: str) -> None:
    world.start(source={"image": image})
    assert world.service_image() == image


def test_what_nobody_needs_is_swept_where_it_lies_and_one_that_is_away_stops_no_other(world: World) -> None:
    """Images of both tenants have had their time; the registry of one is away for the first sweep."""
    for tenant in ("acme", "other"):
        world.start("old", tenant=tenant, builder="kaniko")
        [attempt] = [one for one in world.builder.started.values() if one.tenant == tenant]
        world.push(attempt.destination, "sha256:" + ("1" if tenant == "acme" else "2") * 64)
        world.builder.ends[attempt.name] = Ended(0)
        world.report("Pod", f"{tenant}-builds", f"{attempt.name}-abcde")
        world.send("dev.knative-lambda.function.delete", {"tenant": tenant, "name": "old"})
    real = world.registry.tags

    def tags(repository: str) -> list[str]:
        if repository.startswith(PREFIX):
            raise Unavailable("registry", "it is away")
        return real(repository)

    def left() -> list[str]:
        return [name for name in world.registry.known if "/old:" in name]

    world.time = (START + timedelta(days=2)).replace(minute=0)
    world.registry.tags = tags  # type: ignore[method-assign]
    world.tick()
    assert [name.startswith(PREFIX) for name in left()] == [True]
    world.registry.tags = real  # type: ignore[method-assign]
    world.time = (world.time + timedelta(hours=1)).replace(minute=0)
    world.tick()
    assert left() == []


def test_while_one_is_away_its_tenant_waits_and_the_tick_does_not_fail(world: World) -> None:
    world.start()
    world.start(tenant="other")
    real = world.registry.digest

    def digest(reference: str) -> str | None:
        if reference.startswith(PREFIX):
            raise Unavailable("registry", "it is away")
        return real(reference)

    world.registry.digest = digest  # type: ignore[method-assign]
    with pytest.raises(Temporary):
        world.start(env={"A": "1"})
    world.start(tenant="other", env={"A": "1"})
    world.tick()


# --- as it is joined


class Away(FakeRegistry):
    """A registry whose host is away where it begins so."""

    def digest(self, reference: str) -> str | None:
        if reference.startswith(PREFIX):
            raise Unavailable("registry", "it is away")
        return super().digest(reference)


def test_each_has_a_breaker_of_its_own() -> None:
    changed: list[tuple[str, str]] = []
    registry: Any = Away({"registry/other/x:1": "sha256:1"})
    nothing: Any = None
    bare = Ports(nothing, nothing, registry, nothing, FakePusher(registry), FakeReviews(), nothing)
    hooks = Hooks([lambda name, state: changed.append((name, state))])
    ports = registries.beside(bare, bare, GIVEN, hooks, Switches(sleep=lambda _: None))
    for _ in range(3):
        with pytest.raises(Unavailable):
            ports.registry.digest(f"{PREFIX}/acme/x:1")
    assert changed == [("registry of acme", "open")]
    assert ports.registry.digest("registry/other/x:1") == "sha256:1"
    with pytest.raises(Unavailable, match="not called"):
        ports.pusher.manifest(f"{PREFIX}/acme/x:1")
    assert registries.beside(bare, bare, {}, hooks) is bare


def test_the_settings_are_read_and_checked() -> None:
    read = {"KNATIVE_LAMBDA_TENANT_REGISTRIES": '{"acme": {"prefix": "acme.test/lambda"}}'}
    given = replace(settings.read(read), registry="registry")
    assert [given.registry_of(tenant) for tenant in ("acme", "other")] == [PREFIX, "registry"]
    for wrong, why in (
        ('{"acme": {}}', "prefix is missing"),
        ('{"acme": {"prefix": "x", "y": "z"}}', "nobody knows y"),
    ):
        with pytest.raises(settings.BadSettings, match=f"TENANT_REGISTRIES: acme: {why}"):
            settings.read({"KNATIVE_LAMBDA_TENANT_REGISTRIES": wrong})
