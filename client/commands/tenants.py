"""``knative-lambda tenant``: tenants of the cluster that kubectl speaks to, made, listed and removed.

What a tenant has is in the product's chart, and nowhere else: this changes the list in the release's values, and Helm
does the rest. It asks `helm` and `kubectl`, as whoever runs it.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Any

import click

from knative_lambda.client.errors import ClientError

RELEASE = "knative-lambda"
LABEL = "knative-lambda.dev/tenant=true"
SHARED: dict[str, str] = {"kind": "shared"}
CHART = resources.files("knative_lambda") / "deploy" / "charts" / RELEASE


@click.group(short_help="Make, list and remove tenants of a cluster.")
@click.option("--namespace", "-n", default=RELEASE, show_default=True, help="The product's own namespace.")
@click.option("--chart", default=str(CHART), show_default="the one of this version", help="The product's chart.")
@click.pass_context
def tenant(context: click.Context, namespace: str, chart: str) -> None:
    """Make, list and remove tenants of the cluster that kubectl speaks to.

    \b
    Examples:
      kn lambda tenant create acme
      kn lambda tenant list
      kn lambda tenant delete acme
    """  # noqa: D301 (click's mark for lines to leave as they are)
    context.obj = Release(namespace, chart)


@tenant.command("list", short_help="List them, and what each has.")
@click.pass_obj
def show_all(release: "Release") -> None:
    """List them, and how many functions each has; one that is kept has its namespaces left, and is not served."""
    served, there = release.tenants(), release.namespaces()
    for name in sorted({*served, *there}):
        state = "served" if name in served and name in there else "kept" if name in there else "missing"
        click.echo(f"{name}  {state}  {release.functions(name) if name in there else 0} functions")


@tenant.command(short_help="Make one, or mend what it has.")
@click.argument("name")
@click.option("--store", type=click.Choice(["shared", "custom"]), help="Where what it keeps lies; else as it was.")
@click.option("--store-url", help="Of its own store: s3://bucket/prefix or minio://host/bucket/prefix.")
@click.option("--store-endpoint", default="", help="The server's address, where s3:// is not Amazon's.")
@click.option("--store-region", default="us-east-1", show_default=True, help="The bucket's region.")
@click.option("--store-secret", default="", help="Secret with access-key and secret-key, in the product's namespace.")
@click.option("--store-ca-secret", default="", help="Secret with ca.crt, there and in NAME-builds.")
@click.option("--store-client-secret", default="", help="Secret with tls.crt and tls.key, in the product's namespace.")
@click.option("--registry-prefix", help="host/path that its images are pushed below; shared: as all the others'.")
@click.option("--registry-secret", default="", help="Secret (dockerconfigjson) to push with, as for --store-secret.")
@click.pass_obj
def create(release: "Release", /, name: str, store: str | None, **own: str | None) -> None:
    """Make a tenant: its namespaces, Broker, accounts, rights, quotas and NetworkPolicies.

    One that is there gets what it lacks. With a store of its own (custom), its contexts, logs and marks lie there
    alone; those of a tenant that had another one before are to be copied, under the same keys.

    \b
    Example:
      kn lambda tenant create acme --store custom --store-url s3://acme-lambda --store-secret acme-store
    """  # noqa: D301 (click's mark for lines to leave as they are)
    if store == "custom" and not own["store_url"]:
        raise click.UsageError("--store custom needs --store-url")
    if store != "custom" and own["store_url"]:
        raise click.UsageError("--store-url is for --store custom")
    served = release.tenants()
    if name not in served and name in release.all_namespaces() - release.namespaces():
        raise click.ClickException(f"there is a namespace {name} already, and it is no tenant's")
    tenants = [*served, *([] if name in served else [name])]
    values = {f"tenantStores.{name}": _store(store, own)} if store else {}
    if prefix := own["registry_prefix"]:
        custom = {"kind": "custom", "prefix": prefix, "secret": own["registry_secret"] or ""}
        values[f"tenantRegistries.{name}"] = SHARED if prefix == "shared" else custom
    release.serve(tenants, values)
    click.echo(f"{name} is a tenant")


@tenant.command(short_help="Remove one with all that it has.")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@click.pass_obj
def delete(release: "Release", name: str, yes: bool) -> None:  # noqa: FBT001 (click passes it by name)
    """Remove a tenant: its functions, their Builds and dead letters, and both of its namespaces.

    What lies of it in the store and in the registry stays: remove it there.
    """
    served, there = release.tenants(), release.namespaces()
    if name not in {*served, *there}:
        raise click.ClickException(f"there is no tenant {name}")
    if not yes:
        click.echo(f"This removes the namespaces {name} and {name}-builds, with {release.functions(name)} functions,")
        click.echo("their Builds, dead letters and Secrets. Images, and what is in the store, stay.")
        click.confirm("Remove them?", abort=True)
    # first, so that nothing is begun in it; what bounds it is kept by Helm, and goes with its namespaces
    own = {f"{sort}.{name}": SHARED for sort in ("tenantStores", "tenantRegistries") if name in release.own(sort)}
    release.serve([each for each in served if each != name], own)
    release.kubectl("delete", "namespace", "--ignore-not-found", name, f"{name}-builds")
    click.echo(f"{name} is no tenant any more")


class Release:
    """The product's release on a cluster; every method raises `click.ClickException` with what went wrong."""

    def __init__(self, namespace: str, chart: str) -> None:
        self._namespace, self._chart = namespace, chart

    def tenants(self) -> list[str]:
        """Return the tenants that the release's values name."""
        return [str(name) for name in self._values["tenants"]]

    def own(self, sort: str) -> dict[str, Any]:
        """Return what the release's values say of tenants' own stores, or registries."""
        return dict(self._values.get(sort) or {})

    def serve(self, tenants: list[str], own: Mapping[str, Any]) -> None:
        """Have the release serve these tenants, with these values of some, and leave all else as it is."""
        chosen = [f"--set-json=tenants={json.dumps(tenants)}"]
        chosen += [f"--set-json={path}={json.dumps(value)}" for path, value in own.items()]
        self._helm("upgrade", RELEASE, self._chart, "--reset-then-reuse-values", *chosen)

    def namespaces(self) -> set[str]:
        """Return the namespaces that are labelled as tenants."""
        return self._names("namespaces", f"--selector={LABEL}")

    def all_namespaces(self) -> set[str]:
        """Return every namespace."""
        return self._names("namespaces")

    def functions(self, tenant: str) -> int:
        """Return how many functions a tenant has."""
        return len(self._names("functions.knative-lambda.dev", f"--namespace={tenant}"))

    def kubectl(self, *arguments: str) -> str:
        """Return what kubectl says."""
        return _run("kubectl", *arguments)

    @cached_property
    def _values(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._helm("get", "values", RELEASE, "--all", "--output=json"))
        return found

    def _helm(self, *arguments: str) -> str:
        return _run("helm", *arguments, f"--namespace={self._namespace}")

    def _names(self, kind: str, *flags: str) -> set[str]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, "--output=json", *flags))
        return {each["metadata"]["name"] for each in found["items"]}


def _store(kind: str, own: Mapping[str, str | None]) -> dict[str, str]:
    """Return what the chart's values say of a tenant's store; all of it, as it is laid over what was said before."""
    if kind == "shared":
        return SHARED
    return {
        "kind": "custom",
        "url": own["store_url"] or "",
        "endpoint": own["store_endpoint"] or "",
        "region": own["store_region"] or "",
        "credentialsSecret": own["store_secret"] or "",
        "caSecret": own["store_ca_secret"] or "",
        "clientSecret": own["store_client_secret"] or "",
    }


def _run(program: str, *arguments: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise ClientError(f"{program} is not on PATH", "tenants are kept by `helm` and `kubectl`: install both")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if done.returncode != 0:
        raise click.ClickException(
            done.stderr.strip().removeprefix("Error: ") or f"{program} ended with {done.returncode}"
        )
    return done.stdout
