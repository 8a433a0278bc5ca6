"""The floor: what nobody can be faster than. A layer is appended with crane, a Service applied with kubectl."""

import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from bench.calls import NoAnswer
from bench.place import TENANT, code, kubectl

from knative_lambda.deploy.cluster import Object


def floor(registry: str, base: str, name: str, version: str, *, window: str = "") -> None:
    """Append the layer of a version to the runtime's base, and apply the Service that runs it."""
    with tempfile.TemporaryDirectory() as folder:
        layer = Path(folder, "layer.tar")
        layer.write_bytes(packed({"function/main.py": code(version)}))
        target = f"{registry}/bench/{name}:{version}"
        command = ["crane", "append", "--insecure", "-b", base, "-f", str(layer), "-t", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoAnswer(f"crane: {done.stderr.strip()[-300:]}")
    kubectl("apply", "-f", "-", given=service(name, done.stdout.strip(), window=window))


def packed(files: dict[str, str]) -> bytes:
    """Return these files as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


def service(name: str, image: str, *, window: str = "", entrypoint: str = "main.handle") -> Object:
    """Return the Service that the product would apply for a function, as a person would write it."""
    annotations = {
        "autoscaling.knative.dev/min-scale": "0",
        "autoscaling.knative.dev/max-scale": "0",
        **(
            {"autoscaling.knative.dev/window": window, "autoscaling.knative.dev/target-burst-capacity": "-1"}
            if window
            else {}
        ),
    }
    container = {
        "name": "function",
        "image": image,
        "env": [{"name": "LAMBDA_ENTRYPOINT", "value": entrypoint}, {"name": "LAMBDA_TENANT", "value": TENANT}],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/readyz"}, "successThreshold": 1},
        "resources": {"requests": {"cpu": "50m" if window else "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (the container's own)
    }
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": TENANT},
        "spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}},
    }
