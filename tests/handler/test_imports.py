"""What the receiver has loaded once it is ready: it starts from zero, and the first event waits for all of it."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = {
    "cloudevents": "judges an event's attributes",
    "dateutil": "of cloudevents",
    "flask": "the HTTP door",
    "werkzeug": "of flask",
    "jinja2": "of flask, which imports it whether or not there are templates",
    "markupsafe": "of jinja2",
    "click": "of flask, for its command",
    "blinker": "of flask, for its signals",
    "itsdangerous": "of flask, for its sessions",
    "gunicorn": "the worker with its threads",
    "jsonschema_rs": "the schemas of events",
    "knative_lambda": "ours",
    "prometheus_client": "the metrics",
    "pybreaker": "breakers",
    "six": "of dateutil",
    "tenacity": "retries",
    "urllib3": "API server, store, registry, Brokers",
}
HEAVY = (
    "asyncio",
    "boto3",
    "botocore",
    "kubernetes",
    "minio",
    "multiprocessing",
    "pydantic",
    "requests",
    "sqlite3",
    "yaml",
)
"""What would cost most, or came in by the way at some time."""
MODULES = 650
"""All of them, the standard library's with them; each costs about half a millisecond and 40 KiB."""
READY = """
import sys
from pathlib import Path
from knative_lambda.deploy import access
access.ACCOUNT = sys.argv[1]
from knative_lambda.handler import __main__, settings, wire
from knative_lambda.handler.receive.app import create_app
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.observe.metrics import Metrics
metrics = Metrics()
listeners = wire.Listeners([metrics.breaker], [metrics.retried], [metrics.notified], [metrics.call])
service, _ = wire.service(settings.read(), listeners)
metrics.show(service.product.census, "knative-lambda")
app = create_app(service, HttpSettings(), listeners=[metrics.handled])
assert app.test_client().get("/health/ready").status_code == 200
print(*sys.modules)
"""
SETTINGS = {
    "TENANTS": "acme",
    "STORE_URL": "s3://bucket",
    "STORE_ENDPOINT": "http://127.0.0.1:9",
    "REGISTRY": "registry.test",
    "PYTHON_BASE": "registry.test/python",
    "NODE_BASE": "registry.test/node",
    "KANIKO_IMAGE": "kaniko",
    "FETCH_IMAGE": "fetch",
}


@pytest.fixture
def loaded(tmp_path: Path) -> list[str]:
    """Return the modules of a receiver that is ready, as in a pod, and has had no event yet."""
    for name, content in (("token", "x"), ("ca.crt", "x"), ("access-key", "me"), ("secret-key", "hush")):
        (tmp_path / name).write_text(content)
    environment = {f"KNATIVE_LAMBDA_{name}": value for name, value in SETTINGS.items()}
    environment |= {
        "KNATIVE_LAMBDA_STORE_CREDENTIALS": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
        "PYTHONPATH": str(Path(__file__).parents[2] / ".rooms"),
    }
    command = [sys.executable, "-c", READY, str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.split()


def test_what_is_loaded_before_the_first_event_is_listed_here_and_no_more(loaded: list[str]) -> None:
    """Whoever adds a package says here what it is for."""
    tops = {name.partition(".")[0] for name in loaded}
    assert {top for top in tops if top not in sys.stdlib_module_names and not top.startswith("_")} <= {*PACKAGES}
    assert tops.isdisjoint(HEAVY)
    assert not [name for name in loaded if name.startswith("knative_lambda.handler.page")], "which is not on"
    assert len(loaded) <= MODULES, "some came in with a package that was here before"
