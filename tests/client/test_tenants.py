"""Tenants made and removed by the command: what it asks of helm and kubectl, which stand here as scripts."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.chart import CHART, REQUIRED, run_helm

from knative_lambda.client.commands.tenants import CHART as SHIPPED

FAKE = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
state = json.loads((here / "state.json").read_text())
with (here / "asked").open("a") as asked:
    asked.write(json.dumps([pathlib.Path(__file__).name, *sys.argv[1:]]) + "\\n")
words = sys.argv[1:]
if state.get("fails") in words:
    sys.exit("Error: the cluster does not answer")
if words[:2] == ["get", "values"]:
    print(json.dumps({{"tenants": state["tenants"], "tenantStores": state.get("stores"), **state.get("values", {{}})}}))
if words[:2] == ["get", "namespaces"]:
    names = state["labelled"] if any("selector" in word for word in words) else state["namespaces"]
    print(json.dumps({{"items": [{{"metadata": {{"name": name}}}} for name in names]}}))
if words[:2] == ["get", "functions.knative-lambda.dev"]:
    print(json.dumps({{"items": [{{"metadata": {{"name": "hello"}}}}]}}))
"""


class Cluster:
    """A cluster that helm and kubectl say this of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state: dict[str, Any] = {"tenants": ["demo"], "labelled": ["demo", "old"], "namespaces": ["demo", "mine"]}
        for program in ("helm", "kubectl"):
            (folder / program).write_text(FAKE.format(python=sys.executable))
            (folder / program).chmod(0o755)

    def run(self, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        (self.folder / "state.json").write_text(json.dumps(self.state))
        command = [sys.executable, "-m", "knative_lambda.client", "tenant", *arguments]
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        return subprocess.run(command, input=answer, capture_output=True, text=True, check=False, env=environment)

    @property
    def changes(self) -> list[list[str]]:
        """Return what was asked that changes something."""
        asked = [json.loads(line) for line in (self.folder / "asked").read_text().splitlines()]
        return [words for words in asked if words[1] != "get"]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def upgrade(*tenants: str, registry: dict[str, str] | None = None, **stores: dict[str, str]) -> list[str]:
    chosen = [f"--set-json=tenants={json.dumps(tenants)}"]
    chosen += [f"--set-json=tenantStores.{name}={json.dumps(store)}" for name, store in stores.items()]
    chosen += [f"--set-json=tenantRegistries.acme={json.dumps(registry)}"] if registry else []
    flags = ["--reset-then-reuse-values", *chosen, "--namespace=knative-lambda"]
    return ["helm", "upgrade", "knative-lambda", str(SHIPPED), *flags]


def test_one_is_made_by_the_chart_that_this_version_has(cluster: Cluster) -> None:
    assert cluster.run("create", "acme").stdout == "acme is a tenant\n"
    assert cluster.changes == [upgrade("demo", "acme")]
    assert Path(str(SHIPPED)).resolve() == CHART.resolve()


def test_one_that_is_there_gets_what_it_lacks(cluster: Cluster) -> None:
    assert cluster.run("create", "demo").returncode == 0
    assert cluster.changes == [upgrade("demo")]


def test_one_may_have_a_store_of_its_own_and_have_it_no_more(cluster: Cluster) -> None:
    flags = ["--store", "custom", "--store-url", "s3://acme-own", "--store-secret", "acme-store"]
    assert cluster.run("create", "acme", *flags).returncode == 0
    own = {"kind": "custom", "url": "s3://acme-own", "endpoint": "", "region": "us-east-1"}
    own |= {"credentialsSecret": "acme-store", "caSecret": "", "clientSecret": ""}
    assert cluster.changes == [upgrade("demo", "acme", acme=own)]
    assert_chart_takes(cluster.changes[0])
    cluster.state |= {"tenants": ["demo", "acme"], "labelled": ["demo", "acme"], "stores": {"acme": own}}
    assert cluster.run("create", "acme", "--store", "shared").returncode == 0
    assert cluster.changes[1] == upgrade("demo", "acme", acme={"kind": "shared"})
    assert cluster.run("delete", "acme", "--yes").returncode == 0
    assert cluster.changes[2] == upgrade("demo", acme={"kind": "shared"})
    assert_chart_takes(cluster.changes[2], *cluster.changes[0][4:-1])


def test_one_may_have_a_registry_of_its_own_and_have_it_no_more(cluster: Cluster) -> None:
    flags = ["--registry-prefix", "acme.test/lambda", "--registry-secret", "acme-push"]
    assert cluster.run("create", "acme", *flags).returncode == 0
    own = {"kind": "custom", "prefix": "acme.test/lambda", "secret": "acme-push"}
    assert cluster.changes == [upgrade("demo", "acme", registry=own)]
    assert_chart_takes(cluster.changes[0])
    cluster.state |= {"tenants": ["demo", "acme"], "labelled": ["demo", "acme"]}
    cluster.state["values"] = {"tenantRegistries": {"acme": own}}
    assert cluster.run("create", "acme", "--registry-prefix", "shared").returncode == 0
    assert cluster.run("delete", "acme", "--yes").returncode == 0
    shared = {"kind": "shared"}
    assert cluster.changes[1:3] == [upgrade("demo", "acme", registry=shared), upgrade("demo", registry=shared)]


@pytest.mark.parametrize("flags", [["--store", "custom"], ["--store-url", "s3://x"], ["--store", "theirs"]])
def test_half_a_store_is_refused(cluster: Cluster, flags: list[str]) -> None:
    assert cluster.run("create", "acme", *flags).returncode == 2
    assert not (cluster.folder / "asked").exists()


def assert_chart_takes(changed: list[str], *before: str) -> None:
    """Have Helm lay what an upgrade says over what an earlier one has said."""
    said = [flag for flag in (*before, *changed) if flag.startswith("--set-json=")]
    done = run_helm("template", "knative-lambda", str(CHART), "--kube-version=1.34.0", *said, values=REQUIRED)
    assert done.returncode == 0, done.stderr


def test_somebody_elses_namespace_is_not_taken_over(cluster: Cluster) -> None:
    done = cluster.run("create", "mine")
    assert (done.returncode, done.stderr) == (1, "Error: there is a namespace mine already, and it is no tenant's\n")
    assert not cluster.changes


def test_they_are_listed_with_those_that_are_kept_and_not_served(cluster: Cluster) -> None:
    cluster.state["tenants"] = ["demo", "new"]
    lines = ["demo  served  1 functions", "new  missing  0 functions", "old  kept  1 functions"]
    assert cluster.run("list").stdout.splitlines() == lines


@pytest.mark.parametrize(("arguments", "answer"), [(["--yes"], ""), ([], "y\n")])
def test_one_is_removed_with_both_of_its_namespaces(cluster: Cluster, arguments: list[str], answer: str) -> None:
    """It is served no more first, so that nothing is begun in it."""
    assert cluster.run("delete", "demo", *arguments, answer=answer).stdout.endswith("demo is no tenant any more\n")
    assert cluster.changes == [
        upgrade(),
        ["kubectl", "delete", "namespace", "--ignore-not-found", "demo", "demo-builds"],
    ]


def test_what_goes_is_told_and_nothing_does_without_a_yes(cluster: Cluster) -> None:
    for answer in ("n\n", ""):
        done = cluster.run("delete", "demo", answer=answer)
        assert done.returncode == 1
        assert "the namespaces demo and demo-builds, with 1 functions" in done.stdout
    assert not cluster.changes


def test_a_kept_one_can_be_removed_and_one_that_is_none_cannot(cluster: Cluster) -> None:
    assert cluster.run("delete", "old", "--yes").returncode == 0
    assert cluster.changes[-1][-2:] == ["old", "old-builds"]
    for name in ("mine", "kube-system"):
        assert cluster.run("delete", name, "--yes").stderr == f"Error: there is no tenant {name}\n"
    assert len(cluster.changes) == 2


@pytest.mark.parametrize("fails", ["values", "upgrade", "delete"])
def test_what_helm_or_kubectl_says_against_it_is_told_and_ends_it(cluster: Cluster, fails: str) -> None:
    cluster.state["fails"] = fails
    done = cluster.run("delete", "demo", "--yes")
    assert (done.returncode, done.stderr) == (1, "Error: the cluster does not answer\n")


def test_without_helm_it_says_so(cluster: Cluster) -> None:
    (cluster.folder / "helm").unlink()
    environment = {**os.environ, "PATH": str(cluster.folder)}
    command = [sys.executable, "-m", "knative_lambda.client", "tenant", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stderr.startswith("Error: helm is not on PATH\nHint: tenants are kept by `helm` and `kubectl`")


def test_a_list_is_taken_as_helm_reads_it() -> None:
    """A name that is no tenant's is refused by the chart, in its own words."""
    chosen = f"--set-json=tenants={json.dumps(['demo', 'Acme'])}"
    done = run_helm("template", "knative-lambda", str(CHART), "--kube-version=1.34.0", chosen, values=REQUIRED)
    assert '"Acme" is no name for a namespace' in done.stderr
