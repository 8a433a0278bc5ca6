"""Credentials are exchanged while functions are sent, before a real store and a real registry that do not wait for us.

The servers take the new ones from a moment on, and no others; the files that we read have them a minute later, as the
kubelet writes a mounted Secret. The product is the same process all the while.
"""

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from support.images import BASE
from support.registry import HTPASSWD, config, patient, real_registry
from support.s3 import BUCKET, start_server, stop
from support.world import World, versions

from knative_lambda.builds.guard import GuardedPusher, GuardedRegistry
from knative_lambda.builds.images.pusher import Blob
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.handler.settings import credentials
from knative_lambda.schemas.errors import Temporary
from knative_lambda.schemas.guard import Guard, GuardSettings, Switches
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.guard import GuardedStore
from knative_lambda.storage.settings import StoreSettings

OLD, NEW = ("old-key", "old-key-secret"), ("new-key", "new-key-secret")
EXCHANGED, ARRIVED, LAST = 3, 9, 12
"""Rounds of ten seconds: from the exchange to the arrival it is a minute."""
QUICK = Switches(sleep=lambda _: None)
PATIENT = GuardSettings(attempts=2)


def basic(user: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:secret".encode()).decode()


@dataclass
class Site:
    """A store and a registry, and what the product knows of both."""

    home: Path
    stack: ExitStack
    program: str
    changed: list[str] = field(default_factory=list)
    """What the breakers did."""

    def __post_init__(self) -> None:
        self.keys, self.password = self.home / "keys", self.home / "password"
        for folder in (self.keys, self.password, self.home / "registry"):
            folder.mkdir()
        self.server, self.endpoint = start_server(self.home, OLD)
        self.stack.callback(lambda: stop(self.server))
        self.users = self.home / "registry" / "htpasswd"
        self.users.write_text(HTPASSWD)
        auth = {"htpasswd": {"realm": "tests", "path": str(self.users)}}
        self.host = self.stack.enter_context(real_registry(self.program, self.home / "registry", auth=auth))
        self.store_arrives(OLD)
        self.registry_arrives("user")

    def store_exchanges(self) -> None:
        """Let the store take the new keys, and no others."""
        stop(self.server)
        self.server, _ = start_server(self.home, NEW, int(self.endpoint.rpartition(":")[2]))

    def store_arrives(self, keys: tuple[str, str] = NEW) -> None:
        for name, said in zip(("access-key", "secret-key"), keys, strict=True):
            (self.keys / name).write_text(said)

    def registry_exchanges(self) -> None:
        """Let the registry know the new user, and no other; it reads the file again by its date."""
        other = self.users.with_name("other")
        other.write_text(HTPASSWD.replace("user:", "another:"))
        other.replace(self.users)

    def registry_arrives(self, user: str = "another") -> None:
        config(self.password, self.host, basic(user))

    def world(self) -> World:
        """Return the product, joined once."""
        tell = [lambda dependency, state: self.changed.append(f"{dependency} {state}")]
        reached = patient(insecure=True, config=self.password / "config.json")
        read, url = partial(credentials, str(self.keys)), f"s3://{BUCKET}/here"
        access, secret = read()
        settings = StoreSettings(url, self.endpoint, access_key=access, secret_key=secret, keys=read)
        store = GuardedStore(open_store(url, settings), Guard("store", PATIENT, listeners=tell, switches=QUICK))
        guard = Guard("registry", PATIENT, listeners=tell, switches=QUICK)
        registry, pusher = HttpRegistry(reached), HttpPusher(reached)
        for body in BASE.blobs:
            pusher.put(f"{self.host}/runtime", Blob.of(body))
        pusher.tag(f"{self.host}/runtime:1", BASE.manifest)
        ports = GuardedRegistry(registry, guard), GuardedPusher(pusher, guard)
        base = f"{self.host}/runtime@{BASE.digest}"
        return World(real=ports, store=store, layers=True, registry=self.host, python_base=base)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not on PATH")
    with ExitStack() as stack:
        yield Site(tmp_path, stack, program)


def until(world: World, send: Callable[[], object]) -> bool:
    """Deliver an event as a Broker does; say whether it was taken."""
    try:
        send()
    except Temporary:
        return False
    return True


def told(world: World) -> set[tuple[str, str]]:
    return {world.condition("Built", name)[:2] for name in world.functions()}


@pytest.mark.parametrize("which", ["store", "registry"])
def test_an_exchange_under_load_fails_no_build_and_starts_nothing_again(which: str, site: Site) -> None:
    world = site.world()
    sources = list(versions(*map(str, range(LAST))))
    owed: list[int] = []
    refused = 0
    for now in range(LAST):
        if now == EXCHANGED:
            getattr(site, f"{which}_exchanges")()
        if now == ARRIVED:
            getattr(site, f"{which}_arrives")()
        owed = [one for one in [*owed, now] if not until(world, partial(world.start, f"fn-{one}", source=sources[one]))]
        refused += len(owed)
        until(world, world.tick)
        assert ("False", "RegistryRefused") not in told(world)
        world.time += timedelta(seconds=10)
    assert not owed
    until(world, world.tick)
    assert told(world) == {("True", "Built")}
    assert len(world.functions()) == LAST
    assert not [change for change in site.changed if change.endswith("open")], "what answers is not an outage"
    assert which == "registry" or refused, "the exchange was noticed"


def test_without_the_new_password_that_would_have_been_the_end(site: Site) -> None:
    world = site.world()
    site.registry_exchanges()
    [source] = versions("one")
    world.start(source=source)
    for _ in range(3):
        assert world.condition("Built")[0] == "Unknown"
        world.time += timedelta(seconds=60)
        world.tick()
    assert world.condition("Built")[:2] == ("False", "RegistryRefused")
