"""The test cluster's processes on this machine: to take one away, to bring it back, to weigh one.

A process is known by the container that the cluster says it is in, or by the id and the start time that the cluster's
scripts wrote; nothing is ever found by its name.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from knative_lambda.deploy.cluster import POD, Cluster, Object

CLUSTER = Path(__file__).parents[1] / "cluster"
SOCKET = "/run/knative-cluster/containerd.sock"


def cluster(*command: str) -> None:
    """Call `cluster.sh`, as in ``cluster("kill", "s3")``."""
    subprocess.run([CLUSTER / "cluster.sh", *command], check=True, stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def without(process: str) -> Iterator[None]:
    """Kill one of the cluster's processes; start it again in the end."""
    cluster("kill", process)
    try:
        yield
    finally:
        cluster("start", process)


def _tasks() -> dict[str, int]:
    """Return the first process of each container that runs."""
    command = ["ctr", "-a", SOCKET, "-n", "k8s.io", "tasks", "ls"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[1:]
    return {task: int(pid) for task, pid, _ in (line.split() for line in lines)}


def containers(pods: list[Object], container: str) -> dict[str, int]:
    """Return the container id and the first process of that container in each of these Pods, where it runs."""
    tasks = _tasks()
    found = {}
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses", []):
            name = status.get("containerID", "").removeprefix("containerd://")
            if status["name"] == container and name in tasks:
                found[name] = tasks[name]
    return found


def receivers(running: Cluster, namespace: str = "knative-lambda") -> dict[str, int]:
    """Return the receiver's containers and their processes."""
    pods = running.list(POD, namespace, {"serving.knative.dev/service": "receiver"})
    return containers(pods, "receiver")


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def kill(pid: int, container: str) -> bool:
    """Send SIGKILL to a process of that container; return whether it was still there and the container's."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:  # the handle stays this process', whatever becomes of the number
        if container not in Path(f"/proc/{pid}/cgroup").read_text():
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(handle)


def weight(pid: int) -> int:
    """Return the bytes of memory that a process and its children hold, shared pages by their share (PSS)."""
    total = 0
    for each in (pid, *children(pid)):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def pause(seconds: float, until: float = float("inf")) -> None:
    """Sleep, but not beyond a moment of the monotonic clock."""
    time.sleep(max(0.0, min(seconds, until - time.monotonic())))
