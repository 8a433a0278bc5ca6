"""By hand and by the product, side by side in one run: seconds from source to first answer, and the receiver's weight.

The product builds a function of code alone both ways: laid upon its base, as it chooses by itself, and in a Job.

`make bench` runs this on the test cluster with the product on it. By hand is what `tests/cluster/smoke.sh` does: a
Kaniko Job with keys to the store in its Pod, `kubectl wait`, a Knative Service by digest, a Trigger. Both are measured
to the first event that the function answers.
"""

import contextlib
import gzip
import io
import os
import statistics
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.live import TENANT, Collector, Live, within

from knative_lambda.deploy.cluster import JOB, KNATIVE_SERVICE, NAMESPACE, POD, TRIGGER, Object

RUNS = int(os.environ.get("RUNS", "5"))
RUNTIME = os.environ["PYTHON_RUNTIME"]
BUCKET = "by-hand"


def code(version: str) -> str:
    """Return a function that answers with its version."""
    return f"def handle(event, context):\n    return {{'version': {version!r}}}\n"


class ByHand:
    """What a person does with kubectl, a store and Kaniko, without waiting longer than kubectl would."""

    def __init__(self, live: Live, name: str) -> None:
        self.live, self.name = live, name
        keys = {"aws_access_key_id": os.environ["S3_ACCESS_KEY"], "aws_secret_access_key": os.environ["S3_SECRET_KEY"]}
        style = Config(s3={"addressing_style": "path"}, signature_version="s3v4")
        self.s3 = boto3.client(
            "s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1", config=style, **keys
        )
        with contextlib.suppress(self.s3.exceptions.BucketAlreadyOwnedByYou):
            self.s3.create_bucket(Bucket=BUCKET)

    def put(self, version: str) -> None:
        """Build and deploy a version."""
        job = f"{self.name}-{uuid.uuid4().hex[:6]}"
        self.s3.put_object(Bucket=BUCKET, Key=f"{job}.tar.gz", Body=context(version))
        self.live.cluster.create(JOB, self.job(job))
        place = (JOB, self.name, job)
        within(120, "the Job is complete", lambda: complete(self.live.cluster.get(*place)), every=0.1)
        [pod] = self.live.cluster.list(POD, self.name, {"batch.kubernetes.io/job-name": job})
        digest = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
        self.live.cluster.apply(KNATIVE_SERVICE, self.service(digest))
        self.live.cluster.apply(TRIGGER, self.trigger())

    def job(self, name: str) -> Object:
        destination = f"{os.environ['REGISTRY']}/by-hand/{self.name}:{name}"
        env = {
            "S3_ENDPOINT": os.environ["S3_ENDPOINT"],
            "S3_FORCE_PATH_STYLE": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": os.environ["S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": os.environ["S3_SECRET_KEY"],
        }
        container = {
            "name": "kaniko",
            "image": os.environ["KANIKO_IMAGE"],
            "args": [
                f"--context=s3://{BUCKET}/{name}.tar.gz",
                f"--destination={destination}",
                "--insecure",
                "--insecure-pull",
                "--digest-file=/dev/termination-log",
            ],
            "env": [{"name": key, "value": value} for key, value in env.items()],
        }
        pod = {"restartPolicy": "Never", "containers": [container]}
        meta = {"name": name, "namespace": self.name}
        spec = {"backoffLimit": 0, "template": {"spec": pod}}
        return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}

    def service(self, digest: str) -> Object:
        image = f"{os.environ['REGISTRY']}/by-hand/{self.name}@{digest}"
        env = [{"name": "LAMBDA_ENTRYPOINT", "value": "main.handle"}, {"name": "LAMBDA_TENANT", "value": TENANT}]
        container = {"image": image, "env": env, "readinessProbe": {"httpGet": {"path": "/readyz"}}}
        return body(KNATIVE_SERVICE, TENANT, self.name, {"template": {"spec": {"containers": [restricted(container)]}}})

    def trigger(self) -> Object:
        ref = {"apiVersion": KNATIVE_SERVICE.api_version, "kind": "Service", "name": self.name, "namespace": TENANT}
        spec = {
            "broker": "default",
            "filter": {"attributes": {"type": f"e2e.{self.name}"}},
            "subscriber": {"ref": ref},
        }
        return body(TRIGGER, TENANT, self.name, spec)


def restricted(container: Object) -> Object:
    """Return the container as a tenant's namespace wants it."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {**container, "securityContext": security}


def body(kind: Any, namespace: str, name: str, spec: Object) -> Object:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, "spec": spec}


def context(version: str) -> bytes:
    out = io.BytesIO()
    dockerfile = f"FROM {RUNTIME}\nCOPY function/ /function/\n"
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in (("Dockerfile", dockerfile), ("function/main.py", code(version))):
            entry = tarfile.TarInfo(path)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(out.getvalue())


def complete(job: Object | None) -> bool:
    return any(
        c["type"] == "Complete" and c["status"] == "True" for c in (job or {}).get("status", {}).get("conditions", [])
    )


def first_answer(live: Live, name: str, version: str, put: Callable[[], None]) -> float:
    """Return the seconds from `put` to the first answer of that version."""
    start = time.monotonic()
    put()

    def answered() -> bool:
        live.post(TENANT, f"e2e.{name}", {}, id=str(uuid.uuid4()))
        time.sleep(0.1)
        return any(data.get("version") == version for data in live.collector.replies(name))

    within(180, f"{name} answers as {version}", answered, every=0.1)
    return time.monotonic() - start


def weigh() -> str:
    """Return what the receiver's processes weigh together at start: CPU seconds and memory, from /proc."""
    cpu, pss = 0.0, 0
    found = subprocess.run(["pgrep", "-f", "knative_lambda.handler serve"], capture_output=True, text=True, check=False)
    for pid in found.stdout.split():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss += int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    return f"{cpu:.2f} s CPU, {pss / 1024:.0f} MiB (PSS of {len(found.stdout.split())} processes)"


def main() -> None:
    """Measure, interleaved, and print one table."""
    live = Live(Collector())
    live.cluster.apply(
        TRIGGER,
        body(TRIGGER, TENANT, "bench-collector", {"broker": "default", "subscriber": {"uri": live.collector.url}}),
    )
    seconds: dict[tuple[str, str], list[float]] = {}
    live.receiver_at_zero()
    live.command("dev.knative-lambda.build.cancel", {"tenant": TENANT, "name": "nobody"})
    within(60, "the receiver is up", lambda: "0.00 s" not in weigh(), every=0.2)
    time.sleep(2)
    print(f"receiver at start: {weigh()}")
    for run in range(RUNS):
        suffix = uuid.uuid4().hex[:6]
        hand, ours = f"hand-{suffix}", {"auto": f"laid-{suffix}", "kaniko": f"job-{suffix}"}
        live.cluster.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": hand}})
        by_hand = ByHand(live, hand)
        for step, version in (("first build", "one"), ("code change", "two")):
            took = first_answer(live, hand, version, partial(by_hand.put, version))
            seconds.setdefault((step, "by hand"), []).append(took)
            files = {"inline": {"main.py": code(version)}}
            for builder, name in ours.items():
                put = partial(live.start, name, runtime="python", source=files, builder=builder)
                seconds.setdefault((step, builder), []).append(first_answer(live, name, version, put))
        for name in ours.values():
            live.delete(name)
        for kind, namespace, name in ((KNATIVE_SERVICE, TENANT, hand), (TRIGGER, TENANT, hand), (NAMESPACE, "", hand)):
            live.cluster.delete(kind, namespace, name)
        print(f"run {run + 1} of {RUNS} done", file=sys.stderr)
    live.cluster.delete(TRIGGER, TENANT, "bench-collector")
    live.collector.close()
    print(f"\n| source to first answer, {RUNS} runs | by hand | product | ratio | in a Job | ratio |")
    print("|---|---|---|---|---|---|")
    for step in ("first build", "code change"):
        hand_times, row = seconds[step, "by hand"], f"| {step} | {shown(seconds[step, 'by hand'])} |"
        for builder in ("auto", "kaniko"):
            times = seconds[step, builder]
            ratio = statistics.median(ours / hand for ours, hand in zip(times, hand_times, strict=True))
            row += f" {shown(times)} | {ratio:.2f} |"
        print(row)
    print(f"\nreceiver after {RUNS} rounds: {weigh()}")


def shown(times: list[float]) -> str:
    return f"{statistics.median(times):.1f} s ({min(times):.1f} to {max(times):.1f})"


if __name__ == "__main__":
    main()
