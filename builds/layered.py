"""The layer builder: code laid upon its runtime's base through the registry's API, in this process, without a Job.

Called by `settle.py` through the `Builder` port. Nothing of the user's is run, so nothing has to be watched: a build
has ended when `start` returns, and says how. The manifest goes last, so what was cut off is no image; done again it
comes to the same digest. Nothing is remembered here: whether there is an image the registry knows.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.images import layers
from knative_lambda.builds.images.layers import BOUNDS, INDEXES, Base, Bounds, Layer
from knative_lambda.builds.images.pusher import Blob, Manifest, Pusher
from knative_lambda.builds.images.registry import Registry
from knative_lambda.builds.inputs import source
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import NotLetIn, Refused, Temporary, TooLarge, Unavailable, Untrusted
from knative_lambda.storage.store import Store

AT_ONCE = 2
WAIT = 5.0
"""Seconds that a build waits for one of the places."""
BEGIN = 10.0
"""Seconds within which a build, its waiting included, asks for something more.

An answer takes ten seconds at most, a blob that must be copied fifteen: it has ended before its Trigger gives up.
"""
CREATED_BY = "COPY function/ /function/"
TITLE = "org.opencontainers.image.title"
Ask = Callable[..., Any]
REFUSALS: Mapping[str, tuple[Literal["user", "ours"], str]] = {
    "/context": ("user", "SourceRefused"),
    "/base": ("ours", "BaseRefused"),
    "/registry": ("ours", "RegistryRefused"),
}
"""Whose failure a refusal is, and its name, by what was refused."""


@dataclass(frozen=True)
class Layered:
    """Builds two at once in this process."""

    store: Store
    registry: Registry
    pusher: Pusher
    platform: str = names.PLATFORM
    """Which image of a base that has several: ``os/architecture``."""
    bounds: Bounds = BOUNDS
    """How large a context may be."""
    clock: Callable[[], float] = time.monotonic
    wait: float = WAIT
    _free: threading.Semaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the places."""
        object.__setattr__(self, "_free", threading.Semaphore(AT_ONCE))

    def start(self, attempt: Attempt) -> Ended:
        """Build, and return how that ended.

        Raises `Unavailable` where store or registry do not answer at all, as any event does at such a time, `NotLetIn`
        or `Untrusted` where they do not know each other, and `Temporary` where too many are before it, or it takes
        too long: no attempt is used up then.
        """
        ask: Ask = partial(self._ask, self.clock() + BEGIN)
        with self._turn(attempt):
            try:
                return self._build(attempt, ask)
            except Refused as refused:
                [fault] = refused.faults
                whose, reason = REFUSALS.get(fault.where, REFUSALS["/registry"])
                return Ended(1, whose, reason, fault.message)

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        """Ask the registry: it has the image, or there is nothing."""
        return Lost() if self.registry.digest(attempt.destination) is None else Ended(0)

    def log(self, attempt: Attempt, *, limit: int) -> bytes:  # noqa: ARG002 - the port's
        """Return nothing: nothing was run that could have said anything."""
        return b""

    def stop(self, attempt: Attempt) -> None:
        """Do nothing: it has ended. An image that nothing names goes like any other."""

    def revoke(self, attempt: Attempt) -> None:
        """Do nothing: it was given nothing."""

    def is_idle(self, tenant: str, build_uid: str) -> bool:  # noqa: ARG002 - the port's
        """Say yes: an attempt beside another does the same, and comes to the same end."""
        return True

    @contextmanager
    def _turn(self, attempt: Attempt) -> Iterator[None]:
        if not self._free.acquire(timeout=self.wait):
            raise Temporary(f"too many builds at once are before {attempt.name}")
        try:
            yield
        finally:
            self._free.release()

    def _build(self, attempt: Attempt, ask: Ask) -> Ended:
        layer = self._layer(attempt)
        if layer is None:
            return Ended(1, "ours", "ContextMissing", f"the store holds no {attempt.context}")
        reference = attempt.build_args.get("BASE", "")
        found = ask(self.pusher.manifest, reference)
        if found is None:
            return Ended(1, "ours", "BaseMissing", f"there is no base image {reference}")
        try:
            if attempt.keep:
                ask(self.pusher.tag, attempt.keep, found)
            self._push(attempt, layer, self._base(reference, found, ask), ask)
        except (NotLetIn, Untrusted):
            raise
        except Unavailable as error:  # it did answer before
            return Ended(1, "platform", "RegistryUnavailable", str(error))
        return Ended(0)

    def _layer(self, attempt: Attempt) -> Layer | None:
        """Return the layer of an attempt's code, or None where its context is gone."""
        try:
            context = self.store.get(attempt.context, limit=self.bounds.packed)
        except TooLarge as error:
            raise Refused.because("/context", self.bounds.unfit(self.bounds.packed + 1, 0)) from error
        if context is None:
            return None
        digest = "sha256:" + attempt.context.rpartition("/")[2].removesuffix(".tar.gz")
        return layers.code_layer(context, digest, source.CODE, partial(source.needs_job, attempt.runtime), self.bounds)

    def _base(self, reference: str, found: Manifest, ask: Ask) -> Base:
        repository = reference.partition("@")[0]
        if found.media_type in INDEXES:
            found = ask(self.pusher.manifest, f"{repository}@{layers.chosen(found, self.platform)}")
        config = ask(self.pusher.blob, repository, layers.config_of(found)) if found else None
        if config is None:
            raise Refused.because("/base", f"a part of the base image {reference} is missing")
        return layers.base_of(reference, found, config)

    def _push(self, attempt: Attempt, layer: Layer, base: Base, ask: Ask) -> None:
        labels = {TITLE: attempt.function, names.INPUT_LABEL: attempt.inputs}
        image = layers.upon(base, layer, labels, CREATED_BY)
        repository = attempt.destination.rpartition(":")[0]
        for below in base.blobs:
            ask(self.pusher.bring, below, base.repository, repository)
        for blob in (image.layer, Blob.of(image.config)):
            ask(self.pusher.put, repository, blob)
        ask(self.pusher.tag, attempt.destination, image.manifest)

    def _ask(self, end: float, call: Ask, *args: object) -> Any:
        """Do a call, unless there is no time for another one: slow is not broken, and what is pushed by then stays."""
        if self.clock() > end:
            raise Temporary(f"a layer took more than {BEGIN:.0f} seconds: the next try goes on from there")
        return call(*args)
