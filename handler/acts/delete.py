"""function.delete: remove the function and all that belongs to it.

The mark of the deletion is written first, so that a late older start does not bring the function back: whoever creates
it after the mark reads the mark, and whoever created it before is seen here. What the cluster does not collect by owner
reference (the Jobs, in another namespace) is removed by name. Every step may run again; the sweep ends what the mark
began.
"""

import json

from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, Object
from knative_lambda.handler import builds, status
from knative_lambda.handler.acts import order
from knative_lambda.handler.acts.order import Mark
from knative_lambda.handler.converge import converge
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Conflict, Temporary
from knative_lambda.storage import keys

TRIES = 5


def delete_function(event: Event, product: Product) -> None:
    """Delete what the event names, unless a newer event has been seen; already gone is success.

    Raises `Refused` where the event cannot be ordered, `Temporary` where twins are too many.
    """
    tenant, name = event.data["tenant"], event.data["name"]
    product.require_tenant(tenant)
    key = order.key_of(event, product.now())
    found = product.cluster.get(FUNCTION, tenant, name)
    mark = order.mark(product.workshop.store, tenant, name)
    stands = order.against(key, order.seen_by(found), order.key_in(mark))
    if stands == "older":
        return
    if stands == "newer":
        unseen = found is not None and order.seen_by(found) is None
        mark = Mark(key, found["metadata"]["uid"] if found and unseen else "")
        order.leave(product.workshop.store, tenant, name, mark)
    if mark is not None:
        remove(tenant, name, mark, product)
    if stands == "equal":
        converge(tenant, name, product)


def remove(tenant: str, name: str, mark: Mark, product: Product) -> None:
    """Delete a Function that a mark ends, and the Jobs of whatever is gone.

    Raises `Temporary` where it was written too often in the meantime.
    """
    for _ in range(TRIES):
        found = product.cluster.get(FUNCTION, tenant, name)
        if found is None or not mark.ends(found):
            break
        try:
            _delete(found, product)
        except Conflict:
            continue
        break
    else:
        raise Temporary(f"too many writers of {tenant}/{name} at once")
    for job in product.cluster.list(JOB, names.builds_namespace(tenant), {names.FUNCTION_LABEL: name}):
        remove_if_orphaned(tenant, job, product)


def remove_if_orphaned(tenant: str, job: Object, product: Product) -> None:
    """Delete a Job of ours whose Build, or whose Build's Function, is no more."""
    meta = job["metadata"]
    labels = meta.get("labels", {})
    if names.BUILD_UID_LABEL not in labels:
        return
    build = product.cluster.get(BUILD, tenant, labels.get(names.BUILD_LABEL) or meta["name"])
    if build is not None and build["metadata"]["uid"] == labels[names.BUILD_UID_LABEL]:
        function = product.cluster.get(FUNCTION, tenant, build["spec"]["function"])
        if function is not None and function["metadata"]["uid"] == build["spec"]["functionUID"]:
            return
    product.cluster.delete(JOB, meta["namespace"], meta["name"], uid=meta["uid"])


def _delete(function: Object, product: Product) -> None:
    """Delete the Function as it was read; all that subscribers are owed is written down first."""
    meta = function["metadata"]
    tenant, name, uid = meta["namespace"], meta["name"], meta["uid"]
    note = {
        "id": f"{uid}.{types.FUNCTION_DELETED}",
        "type": types.FUNCTION_DELETED,
        "data": {"tenant": tenant, "name": name, "uid": uid},
    }
    owed = status.owing(function.get("status", {}), [*builds.last_notes(function, product), note])["outbox"]
    product.workshop.store.put(keys.farewell(tenant, name, uid), json.dumps(owed).encode())
    product.cluster.delete(FUNCTION, tenant, name, uid=uid, version=meta["resourceVersion"])
    product.owes(tenant, name)
