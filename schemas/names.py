"""What things are called: every name is derived from what it names, so that the API server's own lock is ours.

Called by every room. Nothing here is ever cut without its hash.
"""

import base64
import hashlib
import json
import re
from typing import Any

PREFIX = "knative-lambda.dev/"
TENANT_LABEL = PREFIX + "tenant"
"""On a tenant's namespace: "true"."""
FUNCTION_LABEL = PREFIX + "function"
"""On everything that belongs to a function: its name."""
BUILD_LABEL = PREFIX + "build"
"""On a Job and its Pod: the Build's name."""
BUILD_UID_LABEL = PREFIX + "build-uid"
BUILD_SECRET_LABEL = PREFIX + "build-secret"
"""On a Secret of a tenant's, "true", by whoever gives it to builds."""
QUEUE_LABEL = PREFIX + "queue"
"""On a Lease: "slot" where a build holds it, "ticket" where one waits, "twin" where others wait for what it makes."""
MAKES_LABEL = PREFIX + "makes"
"""On a Build, and its Lease "twin": the hash of what it makes, of which one Build at a time does."""
INPUT_LABEL = PREFIX + "input-hash"
"""On an image that was laid layer by layer: the hash of everything that shapes it."""
EVENT_ANNOTATION = PREFIX + "event"
"""On a Function: the newest event it has seen, with its order key."""
PAUSE_ANNOTATION = PREFIX + "pause"
"""On a Function: when it was last asked for that it pauses, or goes on."""
INPUT_ANNOTATION = PREFIX + "input"
"""On a Function: what its source was prepared into, the context's hash and the base image's digest."""
TEMPLATE_ANNOTATION = PREFIX + "template"
"""On a Knative Service: the hash of the template that it was given."""
RESTART_ANNOTATION = PREFIX + "restart"
"""On a Knative Service's template: what its Function says so, so that another value is another version."""
RESEND_LABEL = PREFIX + "resend"
"""On a DeadLetter, "true", by whoever wants its event sent again."""
OWES_LABEL = PREFIX + "owes"
"""On a DeadLetter whose tenant has not been told of it yet: "function.error", or "function.error.<count>"."""
CAME_ANNOTATION = PREFIX + "came"
"""On a DeadLetter: when its event came last. On a Build: when it was made, finer than Kubernetes' whole seconds."""
TRACE_ANNOTATION = PREFIX + "traceparent"
"""On a Function, its Build, its Job and its Service: the trace of the source's event, where traces are made."""
NOTE_ANNOTATION = PREFIX + "note"
"""On a DeadLetter: why it was not sent again."""
MANAGER = "knative-lambda"
NAME_KEPT = 36
"""Characters of the function's name that a Build's name shows: its Jobs' names must leave room for those of Pods."""
HASH_KEPT = 16
PLATFORM = "linux/amd64"


def sha256(value: object) -> str:
    """Return ``sha256:…`` of a JSON value in its one canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def input_hash(  # noqa: PLR0913 - each of these shapes an image, and has its name
    *,
    context: str,
    runtime: str,
    entrypoint: str,
    builder: str,
    base: str,
    platform: str = PLATFORM,
    settings: object = None,
) -> str:
    """Return the hash of everything that shapes an image; `settings` are what its build is given beside, if any."""
    return sha256(
        {
            "context": context,
            "runtime": runtime,
            "entrypoint": entrypoint,
            "builder": builder,
            "base": base,
            "platform": platform,
            **({"settings": settings} if settings else {}),
        }
    )


def build_name(function: str, function_uid: str, inputs: str, rebuild: str) -> str:
    """Return ``<function, 36 at most>-<16 of a hash>``; `rebuild` is the UID of the Build that it replaces, or ""."""
    raw = hashlib.sha256(f"{function_uid}\n{inputs}\n{rebuild}".encode()).digest()
    short = base64.b32encode(raw).decode().lower()[:HASH_KEPT]
    return f"{function[:NAME_KEPT].rstrip('-')}-{short}"


def builds_namespace(tenant: str) -> str:
    """Return the namespace where a tenant's build Jobs run."""
    return f"{tenant}-builds"


def repository(registry: str, tenant: str, function: str) -> str:
    """Return the repository of a function's images."""
    return f"{registry}/{tenant}/{function}"


def dependencies(registry: str, tenant: str, runtime: str) -> str:
    """Return the repository of a tenant's installed dependencies: the dot keeps it from being a function's."""
    return f"{registry}/{tenant}/dependencies.{runtime}"


def kept_layers(registry: str, tenant: str) -> str:
    """Return the repository of the layers that Kaniko keeps for a tenant: the dot keeps it from being a function's."""
    return f"{registry}/{tenant}/layers.kaniko"


def trigger_name(function: str, attributes: dict[str, Any]) -> str:
    """Return the name of the Trigger for a filter of a function."""
    return f"{function[:NAME_KEPT].rstrip('-')}-{sha256([function, attributes])[7 : 7 + HASH_KEPT]}"


def function_at(address: str, tenant: str) -> str:
    """Return the function that an URL is the address of, or "" where that is none of the tenant's functions."""
    where, name = re.escape(tenant), r"([a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)"
    found = re.match(rf"https?://(?:{name}\.{where}\.svc\b|[^/]+/functions/{where}/{name}(?:/|$))", address)
    return (found[1] or found[2]) if found else ""
