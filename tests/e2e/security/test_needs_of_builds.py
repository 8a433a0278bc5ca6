"""Each capability of a build's Pod is there because a Dockerfile that does ordinary things fails without it."""

import gzip
import hashlib
import io
import os
import tarfile
import uuid
from typing import Any

import boto3
import pytest
from botocore.config import Config
from support.live import TENANT, Live, within

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.jobs.diagnosis import EXECUTOR
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings, job
from knative_lambda.deploy.cluster import JOB, KNATIVE_SERVICE, POD, Object
from knative_lambda.schemas import names

ORDINARY = f"""
FROM {os.environ.get("PYTHON_BASE", "")}
RUN mkdir -p /srv/theirs && touch /srv/theirs/file && chown -R 1234:1234 /srv/theirs && chmod 2700 /srv/theirs
RUN touch /srv/theirs/another && chmod 600 /srv/theirs/file \\
  && chown 1234:1234 /srv/theirs/another && chmod 6755 /srv/theirs/another
RUN test -g /srv/theirs/another && test -u /srv/theirs/another
USER 1234:1234
RUN id -u | grep -x 1234 && touch /srv/theirs/mine
"""
RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}}


def context(store: Any, bucket: str) -> tuple[str, str]:
    """Put a context into the store; return its key and an URL to read it by."""
    packed, body = io.BytesIO(), ORDINARY.encode() + b"# " + uuid.uuid4().hex.encode() + b"\n"
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(body)
        tar.addfile(entry, io.BytesIO(body))
    key = f"needs/{hashlib.sha256(packed.getvalue()).hexdigest()}.tar.gz"
    store.put_object(Bucket=bucket, Key=key, Body=gzip.compress(packed.getvalue()))
    return key, store.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=600)


def built(live: Live, without: str) -> tuple[int, str]:
    """Build the ordinary Dockerfile without a capability; return the executor's exit code and its log."""
    service = live.cluster.get(KNATIVE_SERVICE, "knative-lambda", "receiver")
    assert service is not None
    env = {e["name"]: e.get("value", "") for e in service["spec"]["template"]["spec"]["containers"][0]["env"]}
    keys = {"aws_access_key_id": os.environ["S3_ACCESS_KEY"], "aws_secret_access_key": os.environ["S3_SECRET_KEY"]}
    style = Config(s3={"addressing_style": "path"}, signature_version="s3v4")
    where = {"endpoint_url": os.environ["S3_ENDPOINT"], "region_name": "us-east-1", "config": style}
    key, url = context(boto3.client("s3", **where, **keys), "knative-lambda")
    name = f"needs-{uuid.uuid4().hex[:8]}"
    destination = f"{os.environ['REGISTRY']}/{TENANT}/needs:{name}"
    attempt = Attempt(TENANT, "needs", name, name, 1, "dockerfile", key, destination, seconds=120)
    settings = KanikoSettings(
        env["KNATIVE_LAMBDA_KANIKO_IMAGE"], env["KNATIVE_LAMBDA_FETCH_IMAGE"], insecure=True, resources=RESOURCES
    )
    body = job(attempt, url, settings)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["args"].append("--no-push")
    granted = container["securityContext"]["capabilities"]["add"]
    assert not without or without in granted
    container["securityContext"]["capabilities"]["add"] = [one for one in granted if one != without]
    live.cluster.create(JOB, body)
    namespace = names.builds_namespace(TENANT)
    try:
        pod: Object = within(120, f"a build without {without or 'nothing'} ends", lambda: ended(live, attempt.name))
        log = live.cluster.pod_log(namespace, pod["metadata"]["name"], EXECUTOR, limit=4096) or b""
        return pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], log.decode(errors="replace")
    finally:
        live.cluster.delete(JOB, namespace, attempt.name)


def ended(live: Live, job_name: str) -> Object | None:
    pods = live.cluster.list(POD, names.builds_namespace(TENANT), {"batch.kubernetes.io/job-name": job_name})
    states = [pod["status"].get("containerStatuses", [{}])[0].get("state", {}) for pod in pods]
    return pods[0] if states and "terminated" in states[0] else None


def test_an_ordinary_dockerfile_is_built_with_what_the_pod_has(live: Live) -> None:
    code, log = built(live, "")
    assert code == 0, log


@pytest.mark.parametrize("capability", ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"])
def test_it_fails_without_any_one_of_them(live: Live, capability: str) -> None:
    code, log = built(live, capability)
    assert code != 0, f"{capability} is not needed: {log}"
