"""Nothing is built twice, and nothing is lost for good: identical source shares one Job, a deleted image comes back."""

import os
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from support.audit import Audit
from support.live import TENANT, Live, within

from knative_lambda.builds.images.registry_client import RegistrySettings
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types

NEIGHBOUR = "neighbour"
"""The other tenant that `run.sh` installs."""


def greeting(version: str) -> dict[str, Any]:
    return {"inline": {"main.py": f"def handle(event, context):\n    return {{'version': {version!r}}}\n"}}


def jobs_of(log: Audit, tenant: str, *functions: str) -> list[str]:
    """Return the names of the Jobs that were made for these functions."""
    jobs = log.jobs(names.builds_namespace(tenant))
    return [job.name for job in jobs if job.build.rpartition("-")[0] in functions]


def built(live: Live, tenant: str, name: str) -> Object:
    """Return a function's wanted Build once it has succeeded."""

    def look() -> Object | None:
        latest = (live.cluster.get(FUNCTION, tenant, name) or {}).get("status", {}).get("latestBuild", "")
        build = live.cluster.get(BUILD, tenant, latest) if latest else None
        return build if build and build.get("status", {}).get("phase") == "Succeeded" else None

    found: Object = within(180, f"{tenant}/{name} is built", look, every=1)
    return found


def test_the_same_source_of_two_functions_at_once_makes_one_job_and_both_answer(live: Live) -> None:
    log, version = Audit(datetime.now(UTC)), uuid.uuid4().hex
    both = ("same-one", "same-two")
    for name in both:
        live.start(name, runtime="python", source=greeting(version), builder="kaniko")
    for name in both:
        live.ready(name)
        live.answer(name, {}, {"version": version}.__eq__)
    assert len(jobs_of(log, TENANT, *both)) == 1
    [reused] = [build for name in both for build in live.builds(name) if condition(build, "Reused")["status"] == "True"]
    assert reused["status"]["image"].startswith(f"{os.environ['REGISTRY']}/")
    assert reused["status"]["image"].partition("@")[0] == reused["spec"]["destination"]
    for name in both:
        live.delete(name)


@pytest.mark.long
def test_an_image_that_was_deleted_in_the_registry_comes_back_with_the_same_source(live: Live) -> None:
    registry = HttpRegistry(RegistrySettings(insecure=True))
    source = greeting(uuid.uuid4().hex)
    for builder in ("layer", "kaniko"):
        name = f"gone-{builder}"
        live.start(name, runtime="python", source=source, builder=builder)
        image = live.ready(name)
        repository, _, digest = image.partition("@")
        registry.delete(repository, digest)
        assert registry.digest(image) is None
        first = built(live, TENANT, name)["metadata"]["name"]
        live.start(name, runtime="python", source=source, builder=builder)

        def another(name: str = name, first: str = first) -> Object | None:
            build = built(live, TENANT, name)
            return build if build["metadata"]["name"] != first else None

        heir = within(180, f"{name} is built again", another, every=1)
        assert condition(heir, "Replaces")["reason"] == "ImageVanished"
        assert image in condition(heir, "Replaces")["message"]
        assert registry.digest(heir["status"]["image"]) is not None
        live.ready(name)
        live.answer(name, {}, lambda data: "version" in data)
        live.delete(name)


def test_two_tenants_with_the_same_source_have_a_job_each_and_see_nothing_of_the_other(live: Live) -> None:
    log, source = Audit(datetime.now(UTC)), greeting(uuid.uuid4().hex)
    tenants, builds = (TENANT, NEIGHBOUR), {}
    for tenant in tenants:
        live.start("apart", tenant=tenant, runtime="python", source=source, builder="kaniko")
        builds[tenant] = built(live, tenant, "apart")
    for tenant in tenants:
        assert len(jobs_of(log, tenant, "apart")) == 1
        assert condition(builds[tenant], "Reused")["status"] == "Unknown"
        assert builds[tenant]["status"]["image"].startswith(f"{os.environ['REGISTRY']}/{tenant}/apart@")
        live.command(types.FUNCTION_DELETE, {"tenant": tenant, "name": "apart"})
    for tenant in tenants:
        within(60, "it is gone", lambda tenant=tenant: live.cluster.get(FUNCTION, tenant, "apart") is None, every=1)
