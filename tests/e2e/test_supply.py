"""Images on a real cluster bear papers, whoever made them; and it is openssl, and cosign, that says they are right."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.live import Live, within
from support.papers import listed, signed, statement, verifies

from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_client import RegistrySettings

pytestmark = pytest.mark.skipif("SUPPLY_KEYS" not in os.environ, reason="SIGNED=1 tests/e2e/run.sh deploys with a key")
BILL, STATEMENT = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"


def greeting(version: str) -> dict[str, Any]:
    code = f"def handle(event, context):\n    return {{'version': {version!r}}}\n"
    return {"inline": {"main.py": code, "requirements.txt": "inflection==0.5.1\n"}}


@pytest.mark.parametrize("builder", ["layer", "kaniko"])
def test_an_image_bears_signature_bill_and_provenance_that_others_can_verify(
    live: Live, tmp_path: Path, builder: str
) -> None:
    name, folder, pusher = (
        f"signed-{builder}",
        Path(os.environ["SUPPLY_KEYS"]),
        HttpPusher(RegistrySettings(insecure=True)),
    )
    live.start(name, runtime="python", source=greeting(builder), builder=builder)
    image = live.ready(name)
    live.answer(name, {}, {"version": builder}.__eq__)

    [(payload, signature)] = signed(image, pusher)
    assert verifies(folder, signature, payload, tmp_path)
    assert not verifies(folder, signature, payload.replace(b"sha256:", b"sha256:0", 1), tmp_path)
    digest = image.partition("@")[2]
    assert json.loads(payload)["critical"]["image"]["docker-manifest-digest"] == digest

    papers = listed(image, pusher)
    envelope = json.loads(papers[STATEMENT])
    stated = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(stated), stated)
    [by] = envelope["signatures"]
    assert verifies(folder, base64.b64decode(by["sig"]), encoded, tmp_path)
    said = statement(papers[STATEMENT])
    assert said["subject"][0]["digest"] == {"sha256": digest[7:]}
    assert said["predicate"]["runDetails"]["builder"]["id"].endswith(f"/{builder}")
    parts = json.loads(papers[BILL])["components"]
    assert {"inflection", "function/main.py"} <= {part["name"] for part in parts}
    if program := shutil.which("cosign"):
        offline = ["--insecure-ignore-tlog=true", "--allow-http-registry", "--key", str(folder / "cosign.pub"), image]
        for command in (["verify"], ["verify-attestation", "--type", "slsaprovenance1"]):
            done = subprocess.run([program, *command, *offline], check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
    live.delete(name)


def test_an_image_that_nobody_has_signed_does_not_run_in_its_place(live: Live) -> None:
    """Its signature is taken away in the registry: the next pass of a receiver that has not seen it says so."""
    pusher = HttpPusher(RegistrySettings(insecure=True))
    live.start("unsigned", runtime="python", source=greeting("signed"), builder="layer")
    image = live.ready("unsigned")
    repository, _, digest = image.partition("@")
    other = pusher.manifest(image)
    assert other is not None
    pusher.tag(f"{repository}:{digest.replace(':', '-')}.sig", other)  # an image, and no signature
    for pod in subprocess.run(
        ["kubectl", "get", "pods", "-n", "knative-lambda", "-l", "serving.knative.dev/service=receiver", "-o", "name"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split():
        gone = ["kubectl", "delete", "-n", "knative-lambda", pod, "--ignore-not-found"]  # it may go to zero by itself
        subprocess.run(gone, check=True, capture_output=True)
    live.tick()
    within(120, "it is said", lambda: live.condition("unsigned", "Deployed").get("reason") == "SignatureMissing")
    live.answer("unsigned", {}, {"version": "signed"}.__eq__)
    live.delete("unsigned")
