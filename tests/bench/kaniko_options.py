"""Kaniko's options side by side in one run: seconds from the Job's creation to its Pod's end.

    . tests/cluster/env.sh; set -a; . "$CLUSTER_RUN/env"; . .knative-lambda/images.env
    .venv/bin/python tests/bench/kaniko_options.py [variant...]

The Job is the product's own, with the options of a variant added. Contexts come from the S3 server, presigned.
"""

import contextlib
import gzip
import hashlib
import io
import os
import statistics
import sys
import tarfile
import time
import uuid
from typing import Any

import boto3
import kubernetes
from botocore.config import Config

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.jobs import kaniko_job
from knative_lambda.builds.jobs.diagnosis import EXECUTOR
from knative_lambda.deploy.cluster import JOB
from knative_lambda.deploy.kubernetes import KubernetesCluster

RUNS = int(os.environ.get("RUNS", "5"))
REGISTRY = os.environ["REGISTRY"]
BUCKET = "kaniko-options"
TENANT = "demo"
CACHE = ["--cache=true", f"--cache-repo={REGISTRY}/bench/cache"]
VARIANTS: dict[str, list[str]] = {
    "no options": [],
    "snapshot redo": ["--snapshot-mode=redo"],
    "snapshot time": ["--snapshot-mode=time"],
    "gzip 1": ["--compression-level=1"],
    "zstd": ["--compression=zstd"],
    "no check of push": ["--skip-push-permission-check"],
    "new run": ["--use-new-run"],
    "one snapshot": ["--single-snapshot"],
    "cache": CACHE,
    "cache, uncompressed": [*CACHE, "--compressed-caching=false"],
    "cache, COPY too": [*CACHE, "--cache-copy-layers"],
    "chosen": ["--snapshot-mode=redo", "--compression-level=1", "--skip-push-permission-check"],
}
SOURCES: dict[str, dict[str, str]] = {
    "pip": {
        "Dockerfile": f"FROM {os.environ['PYTHON_RUNTIME']}\nUSER 0:0\nCOPY function/requirements.txt /dependencies/\n"
        "RUN python3 -m pip install --no-cache-dir -q --target /dependencies -r /dependencies/requirements.txt\n"
        "USER 65532:65532\nCOPY function/ /function/\n",
        "function/requirements.txt": "requests==2.32.3\n",
        "function/main.py": "# {version}\n",
    },
    "copy": {
        "Dockerfile": f"FROM {os.environ['PYTHON_RUNTIME']}\nCOPY function/ /function/\n",
        "function/main.py": "# {version}\n",
    },
}


def store() -> Any:
    keys = {"aws_access_key_id": os.environ["S3_ACCESS_KEY"], "aws_secret_access_key": os.environ["S3_SECRET_KEY"]}
    style = Config(s3={"addressing_style": "path"}, signature_version="s3v4")
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1", config=style, **keys)


def context(files: dict[str, str], version: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in files.items():
            body = text.replace("{version}", version).encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return gzip.compress(out.getvalue(), mtime=0)


def build(cluster: KubernetesCluster, s3: Any, source: str, options: list[str]) -> float:
    """Run one Job, and return its seconds."""
    version = uuid.uuid4().hex[:8]
    body = context(SOURCES[source], version)
    digest = hashlib.sha256(gzip.decompress(body)).hexdigest()
    key = f"{digest}.tar.gz"
    s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": key}, ExpiresIn=600)
    destination = f"{REGISTRY}/bench/options:{version}"
    attempt = Attempt(TENANT, "bench", f"bench-{version}", version, 1, "python", key, destination, seconds=300)
    settings = kaniko_job.KanikoSettings(
        os.environ["KANIKO_IMAGE"],
        os.environ["IMAGE"],
        insecure=True,
        resources={"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
    )
    job = kaniko_job.job(attempt, url, settings)
    job["spec"]["template"]["spec"]["containers"][0]["args"] += options
    start = time.monotonic()
    cluster.create(JOB, job)
    namespace = f"{TENANT}-builds"
    try:
        return watch(namespace, attempt.name) - start
    finally:
        cluster.delete(JOB, namespace, attempt.name)


def watch(namespace: str, job: str) -> float:
    api = kubernetes.client.CoreV1Api()
    selector = f"batch.kubernetes.io/job-name={job}"
    for event in kubernetes.watch.Watch().stream(
        api.list_namespaced_pod, namespace, label_selector=selector, timeout_seconds=300
    ):
        for status in event["object"].status.container_statuses or []:
            if status.state.terminated:
                now = time.monotonic()
                if status.state.terminated.exit_code:
                    print(api.read_namespaced_pod_log(event["object"].metadata.name, namespace, container=EXECUTOR))
                    sys.exit(f"{job} failed")
                return now
    sys.exit(f"{job} has not ended")


def main() -> None:
    kubernetes.config.load_kube_config()
    chosen = sys.argv[1:] or list(VARIANTS)
    sources = os.environ.get("SOURCES", ",".join(SOURCES)).split(",")
    cluster, s3 = KubernetesCluster(), store()
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=BUCKET)
    seconds: dict[tuple[str, str], list[float]] = {}
    for run in range(RUNS + 1):
        for source in sources:
            for variant in chosen:
                took = build(cluster, s3, source, VARIANTS[variant])
                if run:
                    seconds.setdefault((source, variant), []).append(took)
        print(f"run {run} of {RUNS} done", file=sys.stderr)
    for source in sources:
        print(f"\n| {source} | median | spread | ratio |\n|---|---|---|---|")
        plain = seconds[source, chosen[0]]
        for variant in chosen:
            took = seconds[source, variant]
            ratio = statistics.median(one / other for one, other in zip(took, plain, strict=True))
            print(f"| {variant} | {statistics.median(took):.2f} | {min(took):.2f} to {max(took):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
