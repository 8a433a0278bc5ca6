"""A real cluster with the product on it: `make e2e` brings both, and says where they are in the environment."""

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest
from support.listener import Server, listening
from support.live import HOST, TENANT, Collector, Live
from support.recorded import Recorded

from knative_lambda.deploy.cluster import FUNCTION, KNATIVE_SERVICE
from knative_lambda.schemas.errors import ProductError

NEEDED = ("KUBECONFIG", "BROKER_INGRESS", "REGISTRY", "PYTHON_BASE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask what all stories did once all were told; and before that, last of all, let Knative ask who comes.

    It gives the sources' account a right of its own then, to make tokens.
    """
    items.sort(key=lambda item: item.path.name == "test_oidc.py")
    items.sort(key=lambda item: item.name.startswith("test_the_effects_on_a_real_cluster_are_those_on_record"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say with each failure what was to be seen on the cluster then."""
    report = yield
    found = getattr(item, "funcargs", {}).get("live")
    if report.failed and found is not None:
        with suppress(ProductError):
            report.sections.append(("on the cluster", found.seen()))
    return report


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        pytest.fail(f"run these through `make e2e`: {', '.join(missing)} is not set")
    found = Live(Collector())
    trigger = found.collect()
    for function in found.cluster.list(FUNCTION, TENANT):  # what a run that was cut off has left
        found.delete(function["metadata"]["name"])
    with hook(os.environ) as found.hook:
        yield found
    found.cluster.delete(*trigger)
    found.collector.close()


@contextmanager
def hook(environment: Mapping[str, str]) -> Iterator[Server | None]:
    """Listen where this run's webhook is said to be, for all stories; None where it has none."""
    if "HOOK_PORT" not in environment:
        yield None
        return
    with listening(int(environment["HOOK_PORT"]), HOST) as server:
        yield server


@pytest.fixture(autouse=True)
def tidy(live: Live) -> None:
    """Begin without the subscribers that Knative's channel has kept of Triggers that are gone."""
    live.forget_the_gone()


@pytest.fixture(scope="session", autouse=True)
def recorded(live: Live) -> Iterator[Recorded]:
    """Gather the effects of all stories from the first on."""
    found = Recorded(live.cluster, "knative-lambda")
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def settings(live: Live, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the environment of the cluster's own receiver, as it is for a process beside the cluster."""
    service = live.cluster.get(KNATIVE_SERVICE, "knative-lambda", "receiver")
    assert service is not None
    given = {e["name"]: e["value"] for e in service["spec"]["template"]["spec"]["containers"][0]["env"] if "value" in e}
    keys = tmp_path_factory.mktemp("store")
    for key, variable in (("access-key", "S3_ACCESS_KEY"), ("secret-key", "S3_SECRET_KEY")):
        (keys / key).write_text(os.environ[variable])
    here = {
        "KNATIVE_LAMBDA_STORE_CREDENTIALS": str(keys),
        **(
            {"KNATIVE_LAMBDA_REGISTRY_TOKENS": os.environ["TOKEN_KEYS"]}
            if "KNATIVE_LAMBDA_REGISTRY_TOKENS" in given
            else {}
        ),
        "KNATIVE_LAMBDA_BROKER_URL": live.ingress,
        "KNATIVE_LAMBDA_METRICS_PORT": "0",
        "KNATIVE_LAMBDA_LOG_EFFECTS": "false",
    }
    return {**os.environ, **given, **here, "PYTHONPATH": os.pathsep.join([".rooms", "tests"])}
