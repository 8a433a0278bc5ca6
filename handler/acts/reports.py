"""Reports of the sources: a hint that something changed somewhere, and where to look.

Reports may be lost, late, repeated or forged, so nothing is read from them but a name. What is found there leads to a
Function by what the objects themselves say, and the Function converges.
"""

from collections.abc import Callable, Mapping
from functools import partial

from knative_lambda.builds import ends, record
from knative_lambda.builds.inputs import prepare
from knative_lambda.builds.jobs import diagnosis
from knative_lambda.deploy import objects
from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, POD, TRIGGER, Object
from knative_lambda.handler import builds, letters, status
from knative_lambda.handler.acts.delete import remove_if_orphaned
from knative_lambda.handler.converge import bring_forward, converge
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.handler.upkeep import queue
from knative_lambda.schemas import names

BUILDS_SUFFIX = names.builds_namespace("")


def resource_changed(event: Event, product: Product) -> None:
    """Converge the Function that a reported object belongs to, if it belongs to one."""
    data = event.data
    follow = FOLLOWED.get(data["kind"])
    place = data if "name" in data else data["metadata"]  # a reference, or a whole object
    named = objects.is_name(place.get("namespace") or "") and objects.is_name(place["name"])
    if follow is not None and named:  # a forged name leads nowhere
        which = (data["kind"], place["namespace"], place["name"])
        product.once.do(which, partial(follow, place["namespace"], place["name"], product))


def _function(namespace: str, name: str, product: Product) -> None:
    """Converge a Function that was changed since its status was written: most reports of one tell of that write."""
    found = product.cluster.get(FUNCTION, namespace, name) if product.is_tenant(namespace) else None
    if found is None:
        return
    if status.is_new(found):
        converge(namespace, name, product)
    elif found.get("status", {}).get("outbox"):
        product.owes(namespace, name)


def _owner(namespace: str, name: str, product: Product) -> None:
    if objects.is_name(name) and product.is_tenant(namespace):
        converge(namespace, name, product)


def _trigger(namespace: str, name: str, product: Product) -> None:
    """Converge the Function that a Trigger says; for one that is gone, the one that its name begins with."""
    if not product.is_tenant(namespace):
        return
    found = product.cluster.get(TRIGGER, namespace, name)
    labels = found["metadata"].get("labels", {}) if found else {names.FUNCTION_LABEL: name.rpartition("-")[0]}
    _owner(namespace, labels.get(names.FUNCTION_LABEL, ""), product)


def _revision(namespace: str, name: str, product: Product) -> None:
    """Converge the Function whose Service the Revision is named after."""
    _owner(namespace, name.rpartition("-")[0], product)


def _pod(namespace: str, name: str, product: Product) -> None:
    """Follow a build's Pod to its Job where it has ended, is gone, or has cloned: other reports say nothing."""
    tenant = _builder_of(namespace, product)
    pod = product.cluster.get(POD, namespace, name) if tenant else None
    if tenant and (pod is None or not diagnosis.goes_on(pod) or diagnosis.commit(pod)):
        _attempt(tenant, namespace, name.rpartition("-")[0], product)


def _job(namespace: str, name: str, product: Product) -> None:
    if tenant := _builder_of(namespace, product):
        _attempt(tenant, namespace, name, product)


def _builder_of(namespace: str, product: Product) -> str:
    """Return the tenant whose builds run in a namespace, or ""."""
    tenant = namespace.removesuffix(BUILDS_SUFFIX)
    return tenant if tenant not in ("", namespace) and product.is_tenant(tenant) else ""


def _attempt(tenant: str, namespace: str, name: str, product: Product) -> None:
    build = name.rpartition("-")[0]
    if not all(map(objects.is_name, (name, build))):
        return
    found = _follow(tenant, build, product)
    job = product.cluster.get(JOB, namespace, name)
    if job is not None:
        remove_if_orphaned(tenant, job, product)
    if found is None or record.phase(found) in record.TERMINAL:  # its slot may be free now
        queue.clear(tenant, build, product)
        queue.admit(product, bring_forward)


def _build(namespace: str, name: str, product: Product) -> None:
    if product.is_tenant(namespace):
        _follow(namespace, name, product)


def _follow(tenant: str, name: str, product: Product) -> Object | None:
    """Converge a Build's Function, end a Build that is not wanted any more, and return it as it is then."""
    build = product.cluster.get(BUILD, tenant, name)
    if build is None:
        return None
    converge(tenant, build["spec"]["function"], product)
    if record.is_over(build) and not builds.is_owed(build):
        return build
    build = product.cluster.get(BUILD, tenant, name)
    return retire(build, product) if build is not None else None


def retire(build: Object, product: Product) -> Object:
    """End what still runs for a Build that nobody wants, superseded or cancelled between two steps; return it then."""
    function = product.cluster.get(FUNCTION, build["metadata"]["namespace"], build["spec"]["function"])
    if function is None or function["metadata"]["uid"] != build["spec"]["functionUID"]:
        return build
    if function.get("status", {}).get("latestBuild", "") != build["metadata"]["name"]:
        inputs = prepare.recorded(function["metadata"].get("annotations", {}), function["spec"])
        by = f", by {inputs.cause}" if inputs else ""
        build = builds.abandon(build, function, f"newer source was given{by}", product)
    return ends.clear(build, product.workshop, product.now())


FOLLOWED: Mapping[str, Callable[[str, str, Product], None]] = {
    "Function": _function,
    "Service": _owner,
    "Trigger": _trigger,
    "Revision": _revision,
    "Build": _build,
    "Job": _job,
    "Pod": _pod,
    "DeadLetter": letters.notice,
}
