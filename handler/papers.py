"""The papers that nothing waits for: made once the answer is out, and after the image runs.

Called by a thread of its own, which `wire.py` joins. That they are owed is on the Build's record: what a process has
left undone is asked for again by the sweep, and whoever makes them twice makes the same.
"""

from knative_lambda.builds.images import pushed
from knative_lambda.deploy.cluster import BUILD
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict, Temporary

TRIES = 5


def make(tenant: str, name: str, product: Product) -> None:
    """Give the image of a Build what it lacks of its papers; one that lacks none, or is gone, needs nothing.

    Raises `Temporary` where the cluster does not answer or others write the Build all the time; what the registry does
    is written on the Build.
    """
    for _ in range(TRIES):
        build = product.cluster.get(BUILD, tenant, name)
        if build is None:
            return
        try:
            pushed.add_papers(build, product.workshop, product.now())
        except Conflict:
            continue
        return
    raise Temporary(f"too many writers of {tenant}/{name} at once")
