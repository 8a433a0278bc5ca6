"""By hand: what a person does with a store, Kaniko and kubectl, as `tests/cluster/smoke.sh` does it."""

import gzip
import os

import boto3
from bench.floor import packed, service
from bench.place import HAND, fresh, kubectl
from botocore.config import Config

from knative_lambda.deploy.cluster import Object

BUCKET = "bench-by-hand"


class ByHand:
    """A person with keys to the store, in a namespace where Kaniko may run."""

    def __init__(self) -> None:
        style = Config(s3={"addressing_style": "path"}, signature_version="s3v4")
        self.s3 = boto3.client(
            "s3",
            endpoint_url=os.environ["S3_ENDPOINT"],
            region_name="us-east-1",
            config=style,
            aws_access_key_id=os.environ["S3_ACCESS_KEY"],
            aws_secret_access_key=os.environ["S3_SECRET_KEY"],
        )
        self.s3.create_bucket(Bucket=BUCKET)

    def close(self) -> None:
        """Take the contexts and their bucket away."""
        for found in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
            self.s3.delete_object(Bucket=BUCKET, Key=found["Key"])
        self.s3.delete_bucket(Bucket=BUCKET)

    def put(self, name: str, files: dict[str, str]) -> None:
        """Build a context with Kaniko, wait for the Job, and apply the Service that runs the image."""
        job = f"{name}-{fresh()}"
        self.s3.put_object(Bucket=BUCKET, Key=f"{job}.tar.gz", Body=gzip.compress(packed(files)))
        kubectl("apply", "-f", "-", given=_job(job, name))
        kubectl("wait", "-n", HAND, "--for=condition=complete", f"job/{job}", "--timeout=120s")
        path = "{.items[0].status.containerStatuses[0].state.terminated.message}"
        digest = kubectl("get", "pod", "-n", HAND, "-l", f"job-name={job}", "-o", f"jsonpath={path}").strip()
        kubectl("apply", "-f", "-", given=service(name, f"{os.environ['REGISTRY']}/bench/{name}@{digest}"))


def _job(job: str, name: str) -> Object:
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
            f"--context=s3://{BUCKET}/{job}.tar.gz",
            f"--destination={os.environ['REGISTRY']}/bench/{name}:{job}",
            "--insecure",
            "--insecure-pull",
            "--digest-file=/dev/termination-log",
        ],
        "env": [{"name": key, "value": value} for key, value in env.items()],
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": job, "namespace": HAND},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }
