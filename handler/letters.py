"""What is done with a DeadLetter: who may want something of it, what goes out again, what is told of it, when it goes.

    reports.py ─► notice      a label on it says what is wanted: nothing else is read from a report
    sweep.py   ─► tidy        the same for letters whose report was lost; and those that are old, or too many, go
    postman.py ─► the rest    sends, in a thread of its own

Level-based: the labels are all there is to know. Nothing here sends.
"""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from knative_lambda.deploy.cluster import DEAD_LETTER, Object
from knative_lambda.deploy.conditions import came
from knative_lambda.handler.observe.census import LATELY
from knative_lambda.handler.product import Product
from knative_lambda.schemas import names
from knative_lambda.schemas.catalogue import dataschema
from knative_lambda.schemas.errors import Conflict
from knative_lambda.schemas.types import FUNCTION_ERROR, PREFIX, SOURCES, TYPES

AT_ONCE = 500
"""Letters of a namespace that one tick removes."""
KNATIVES = "knative"
"""How the attributes begin that Knative adds on an event's way."""
REQUIRED = ("specversion", "id", "source", "type")
_REPORTS = frozenset(source.type for source in SOURCES)


def notice(namespace: str, name: str, product: Product) -> None:
    """Have the postman look at a letter that somebody reported."""
    if namespace == product.settings.namespace or namespace in product.settings.tenants:
        product.letters(namespace, name)


def tidy(namespace: str, product: Product) -> None:
    """Have the postman look at the letters of which something is wanted; remove those that are old, or too many.

    Only what names them is read, since there may be many large ones. What somebody wants sent again stays. A tick
    removes so many at most that it ends in time.
    """
    oldest = (product.now() - timedelta(seconds=product.settings.dead_letter_ttl)).strftime("%Y-%m-%dT%H:%M:%SZ")
    heads = sorted(product.cluster.heads(DEAD_LETTER, namespace), key=came)
    lately = (product.now() - LATELY).strftime("%Y-%m-%dT%H:%M:%SZ")
    product.census.letters(namespace, len(heads), sum(came(head) >= lately for head in heads))
    too_many = len(heads) - product.settings.dead_letters_kept
    going = [head for index, head in enumerate(heads) if index < too_many or came(head) < oldest]
    going = [head for head in going if not is_resent(head)]
    gone = {head["metadata"]["name"] for head in going}
    for head in heads:
        if head["metadata"]["name"] not in gone and (is_resent(head) or is_owed(head)):
            product.letters(namespace, head["metadata"]["name"])
    for head in going[:AT_ONCE]:
        with suppress(Conflict):  # it has come again, or somebody wants something of it
            _remove(head, product)


def is_resent(letter: Object) -> bool:
    """Say whether somebody wants the letter's event to be sent again."""
    return _labels(letter).get(names.RESEND_LABEL) == "true"


def is_owed(letter: Object) -> bool:
    """Say whether the letter's tenant has not been told of it yet."""
    return names.OWES_LABEL in _labels(letter)


def wanted_again(letter: Object) -> Object:
    """Return the letter with the label that wants its event sent again."""
    meta = letter["metadata"]
    return {**letter, "metadata": {**meta, "labels": {**_labels(letter), names.RESEND_LABEL: "true"}}}


def without(letter: Object, label: str, note: str = "") -> Object:
    """Return the letter without a label, and with a note where there is one."""
    meta = letter["metadata"]
    labels = {key: value for key, value in _labels(letter).items() if key != label}
    notes = {**meta.get("annotations", {}), **({names.NOTE_ANNOTATION: note} if note else {})}
    return {**letter, "metadata": {**meta, "labels": labels, "annotations": notes}}


def obstacle(letter: Object) -> str:
    """Return why the letter's event can't be sent again, or ""."""
    spec = letter["spec"]
    if spec.get("truncated"):
        return "not sent again: it was too large to be kept whole"
    missing = [name for name in REQUIRED if not spec["event"].get(name)]
    return f"not sent again: it is no CloudEvent, {', '.join(missing)} is missing" if missing else ""


def kept_event(letter: Object) -> Object:
    """Return the letter's event as it was sent, without what Knative had added."""
    return {name: value for name, value in letter["spec"]["event"].items() if not name.startswith(KNATIVES)}


def broker(letter: Object, product_namespace: str) -> str:
    """Return the Broker that an event of this type came through: never what the letter says itself."""
    ours = letter["metadata"]["namespace"] == product_namespace
    return "cluster" if ours and letter["spec"]["event"].get("type") in _REPORTS else "default"


def word(letter: Object) -> Object:
    """Return the event that tells the tenant of a letter; its id is of the letter, and of what is owed."""
    meta, spec = letter["metadata"], letter["spec"]
    tenant, function = meta["namespace"], function_of(letter)
    data: dict[str, Any] = {
        "tenant": tenant,
        **({"name": function} if function else {}),
        "reason": spec["reason"],
        "message": spec.get("message", ""),
        "deadletter": meta["name"],
        "event": _attributes(kept_event(letter)),
    }
    return {
        "specversion": "1.0",
        "id": f"{meta['uid']}.{PREFIX}{_labels(letter)[names.OWES_LABEL]}",
        "source": f"/knative-lambda/deadletters/{tenant}",
        "type": FUNCTION_ERROR,
        "subject": function or meta["name"],
        **({"time": spec["time"]} if "time" in spec else {}),
        "datacontenttype": "application/json",
        "dataschema": dataschema(TYPES[FUNCTION_ERROR].schema),
        "data": data,
    }


def function_of(letter: Object) -> str:
    """Return the function whose address refused the event, or "" where that is none of the tenant's functions."""
    return names.function_at(_trigger(letter), letter["metadata"]["namespace"])


def summary(letter: Object) -> Object:
    """Return a letter for a list: without the data of its event."""
    return {**letter, "spec": {**letter["spec"], "event": _attributes(letter["spec"]["event"])}}


def _attributes(event: Object) -> Object:
    return {name: value for name, value in event.items() if name not in ("data", "data_base64")}


def _remove(letter: Object, product: Product) -> None:
    meta = letter["metadata"]
    product.cluster.delete(
        DEAD_LETTER, meta["namespace"], meta["name"], uid=meta["uid"], version=meta["resourceVersion"]
    )


def _trigger(letter: Object) -> str:
    trigger: str = letter["spec"].get("trigger", "")
    return trigger


def _labels(letter: Object) -> dict[str, str]:
    labels: dict[str, str] = letter["metadata"].get("labels") or {}
    return labels
