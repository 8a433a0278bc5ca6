"""Dependencies on a real cluster: a Job installs them once for a tenant, and no other tenant sees what it has made."""

import os
import uuid
from datetime import UTC, datetime
from typing import Any

from support.audit import Audit, Job
from support.live import TENANT, Live, within

from knative_lambda.builds.images.registry_client import RegistrySettings
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types

OTHER = os.environ.get("TENANTS", TENANT).split()[-1]
"""The cluster's second tenant."""


def lists() -> str:
    """Return a list of dependencies that nobody has had before."""
    return f"inflection==0.5.1 # {uuid.uuid4()}\n"


def plural(version: str, listed: str) -> dict[str, Any]:
    code = f"def handle(event, context):\n    return {{{version!r}: inflection.pluralize('build')}}\n"
    return {"inline": {"main.py": f"import inflection\n\n\n{code}", "requirements.txt": listed}}


def jobs(log: Audit, tenant: str, *functions: str) -> list[Job]:
    """Return the Jobs that were made for these functions."""
    return [job for job in log.jobs(names.builds_namespace(tenant)) if job.build.rpartition("-")[0] in functions]


def installed(build: Object) -> tuple[str, str]:
    found = condition(build, "DependenciesInstalled")
    return found["reason"], found["message"]


def newest(live: Live, name: str, tenant: str = TENANT) -> Object:
    wanted = (live.cluster.get(FUNCTION, tenant, name) or {})["status"]["latestBuild"]
    found = live.cluster.get(BUILD, tenant, wanted)
    assert found is not None
    return found


def test_one_job_installs_dependencies_and_neither_new_code_nor_another_function_makes_one(live: Live) -> None:
    log, listed = Audit(datetime.now(UTC)), lists()
    live.start("lists", runtime="python", source=plural("one", listed))
    before = live.ready("lists")
    live.answer("lists", {}, {"one": "builds"}.__eq__)
    first = newest(live, "lists")
    assert installed(first)[0] == "Built"
    live.start("lists", runtime="python", source=plural("two", listed))
    live.ready("lists", image_other_than=before)
    live.answer("lists", {}, {"two": "builds"}.__eq__)
    assert installed(newest(live, "lists")) == ("Cached", installed(first)[1])
    live.start("lists-too", runtime="python", source=plural("three", listed))
    live.ready("lists-too")
    live.answer("lists-too", {}, {"three": "builds"}.__eq__)
    assert len(jobs(log, TENANT, "lists", "lists-too")) == 1
    live.start("lists", runtime="python", source=plural("four", lists()))
    live.answer("lists", {}, {"four": "builds"}.__eq__)
    assert len(jobs(log, TENANT, "lists", "lists-too")) == 2
    live.delete("lists")
    live.delete("lists-too")


def test_what_cannot_be_installed_is_told_in_the_package_managers_words(live: Live) -> None:
    source = plural("one", f"no-such-package-{uuid.uuid4().hex}==1\n")
    live.start("unmet", runtime="python", source=source)
    said = within(180, "it fails", lambda: failure(live, "unmet"))
    assert said["reason"] == "BuildFailed"
    assert "No matching distribution" in said["message"]
    live.delete("unmet")


def failure(live: Live, name: str) -> dict[str, Any] | None:
    built = live.condition(name, "Built")
    return built if built.get("status") == "False" else None


def test_two_tenants_with_the_same_source_do_not_see_what_the_other_has_installed(live: Live) -> None:
    assert OTHER != TENANT, "this cluster has two tenants"
    log, source = Audit(datetime.now(UTC)), plural("one", lists())
    found = {}
    for tenant in (TENANT, OTHER):
        data = {"tenant": tenant, "name": "private", "runtime": "python", "source": source}
        live.command(types.BUILD_START, data)
        within(180, f"it is built in {tenant}", lambda tenant=tenant: image(live, tenant), every=1)
        found[tenant] = newest(live, "private", tenant)
    registry = HttpRegistry(RegistrySettings(insecure=True))
    for tenant, build in found.items():
        assert len(jobs(log, tenant, "private")) == 1
        assert installed(build)[0] == "Built"
        place, _, key = build["spec"]["dependencies"].rpartition(":")
        assert f"/{tenant}/dependencies." in place
        assert registry.digest(build["spec"]["dependencies"]) == installed(build)[1].rpartition("@")[2]
        assert key in registry.tags(place)
    digests = {installed(build)[1].rpartition("@")[2] for build in found.values()}
    assert len(digests) == 2, "each has installed them by itself"
    for tenant in found:
        live.command(types.FUNCTION_DELETE, {"tenant": tenant, "name": "private"})


def image(live: Live, tenant: str) -> str:
    status = (live.cluster.get(FUNCTION, tenant, "private") or {}).get("status", {})
    build = live.cluster.get(BUILD, tenant, status["latestBuild"]) if "latestBuild" in status else None
    return str((build or {}).get("status", {}).get("image", ""))
