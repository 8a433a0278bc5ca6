"""Knative's JobSink, written in Go: it makes a Job of every event, as the product makes a Build and its Job."""

import os
import subprocess
from pathlib import Path
from typing import Self

from bench.calls import Line
from bench.place import DEPLOYMENT, HAND, SERVICE, Place, fresh, kubectl, within

from knative_lambda.deploy.cluster import Object

NAMESPACE, NAME = "knative-eventing", "job-sink"


class JobSink:
    """A JobSink in the run's namespace; its server is installed for the length of a ``with`` where there is none."""

    def __init__(self, place: Place) -> None:
        self.place, self.is_ours = place, False
        self.name = f"sink-{fresh()}"

    def __enter__(self) -> Self:
        if self.place.cluster.get(DEPLOYMENT, NAMESPACE, NAME) is None:
            self.is_ours = True
            self.place.say("installing JobSink")
            subprocess.run([Path(__file__).with_name("jobsink.sh")], check=True)
        try:
            kubectl("apply", "-f", "-", given=_sink(self.name))
            self.address = self.place.address(NAMESPACE, NAME)
            within(120, "JobSink answers", self._answers)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        kubectl("delete", "jobsink", "-n", HAND, self.name, "--ignore-not-found", "--wait=false")
        if self.is_ours:
            for kind in (DEPLOYMENT, SERVICE):
                self.place.cluster.delete(kind, NAMESPACE, NAME)

    def line(self) -> Line:
        """Return a connection to it."""
        return Line(self.address)

    def send(self, line: Line, name: str) -> tuple[int, bytes]:
        """Send it an event as large as a build.start."""
        return line.post(f"/{HAND}/{self.name}", "bench.job", {"name": name, "source": "x" * 300})

    def _answers(self) -> bool:
        with self.line() as line:
            return self.send(line, "first")[0] == 202


def _sink(name: str) -> Object:
    container = {"name": "job", "image": os.environ["KANIKO_IMAGE"]}
    job = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    return {
        "apiVersion": "sinks.knative.dev/v1alpha1",
        "kind": "JobSink",
        "metadata": {"name": name, "namespace": HAND},
        "spec": {"job": {"spec": job}},
    }
