"""What the product does to the world, call by call: which calls of the ports change something, and a way to see them.

Called by `wire.py` where ``log_effects`` asks for a line per effect, and by the tests, which kill the handler before
and after each of them. A call that is not said to read is an effect: a port's next method is one until told otherwise.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from knative_lambda.deploy.cluster import Kind

Thing = TypeVar("Thing")
READS: Mapping[str, frozenset[str]] = {
    "cluster": frozenset({"get", "heads", "list", "page", "pod_log"}),
    "store": frozenset({"get", "stat", "list", "presign"}),
    "registry": frozenset({"digest", "tags", "referrers"}),
    "pusher": frozenset({"manifest", "blob"}),
    "builder": frozenset({"look", "log", "is_idle"}),
    "reviews": frozenset({"who", "may"}),
}
"""By port, the calls that change nothing."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """One call of a port."""

    port: str
    method: str
    of: str = ""
    """The kind of object, or the first segment of the store's key."""

    @property
    def is_effect(self) -> bool:
        """Say whether it changes the world."""
        return self.method not in READS.get(self.port, frozenset())

    def __str__(self) -> str:
        """Return it as logs and ``tests/faults/effects.txt`` have it, such as ``cluster.create Job``."""
        return f"{self.port}.{self.method} {self.of}".rstrip()


Around = Callable[[Call, Callable[[], Any]], Any]
"""Is told of a call and does it, by calling its second argument; returns what that returns."""


def tell(call: Call, do: Callable[[], Any]) -> Any:
    """Do a call; log it, once it is done, where it is an effect."""
    done = do()
    if call.is_effect:
        log.info("effect", extra={"fields": {"effect": str(call)}})
    return done


def together(*around: Around) -> Around | None:
    """Return what goes through all of these, the first of them outermost; None for none."""
    if not around:
        return None

    def all_of_them(call: Call, do: Callable[[], Any]) -> Any:
        for each in reversed(around):
            do = partial(each, call, do)
        return do()

    return all_of_them


def watched(thing: Thing, around: Around | None) -> Thing:
    """Return something joined from ports, each call of which goes through `around`; None leaves it as it is.

    The ports are found by walking its fields, and theirs: a port is a field whose type is a Protocol, or a function
    that returns nothing. One that is watched already is not watched twice.
    """
    if around is None:
        return thing
    known = {field: name for name, field, _ in ports(thing)}
    new: dict[str, Any] = {}
    for field in fields(cast("Any", thing)):
        value = getattr(thing, field.name)
        if field.name in known:
            new[field.name] = value if isinstance(value, _Seen) else _Seen(value, known[field.name], around)
        elif is_dataclass(value):
            new[field.name] = watched(value, around)
    changed = {name: value for name, value in new.items() if value is not getattr(thing, name)}
    return cast("Thing", replace(cast("Any", thing), **changed)) if changed else thing


def ports(thing: object) -> Iterator[tuple[str, str, Any]]:
    """Yield the ports among the fields of something joined: what its effects call it, the field, and its type."""
    for name, hint in get_type_hints(type(thing)).items():
        if is_port(hint):
            yield hint.__name__.lower(), name, hint
        elif get_origin(hint) is Callable and get_args(hint)[-1] is None:
            yield f"{type(thing).__name__.lower()}.{name}", name, hint


def is_port(hint: object) -> bool:
    """Say whether a type is a Protocol."""
    return isinstance(hint, type) and bool(getattr(hint, "_is_protocol", False)) and hint.__module__ != "typing"


class _Seen:
    def __init__(self, port: Any, name: str, around: Around) -> None:
        self._port, self._name, self._around = port, name, around

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        return self._through(found, self._name, method) if callable(found) else found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name, _, method = self._name.partition(".")
        return self._through(self._port, name, method)(*args, **kwargs)

    def _through(self, found: Callable[..., Any], name: str, method: str) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            return self._around(Call(name, method, _of(name, args)), lambda: found(*args, **kwargs))

        return called


def _of(port: str, args: tuple[Any, ...]) -> str:
    first = args[0] if args else None
    if isinstance(first, Kind):
        return first.kind
    return first.partition("/")[0] if port == "store" and isinstance(first, str) else ""
