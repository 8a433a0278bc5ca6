"""Code alone on a real cluster: a change answers anew, no Job was made, and the image is as Kaniko makes it."""

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from support.audit import Audit
from support.images import check, files, sha256
from support.live import TENANT, Live, within

from knative_lambda.builds.images.pusher import Pusher
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_client import RegistrySettings
from knative_lambda.deploy.cluster import Object
from knative_lambda.schemas import names

BUILDS = names.builds_namespace(TENANT)
CODE = "def handle(event, context): ...\n"
NODE = "exports.handle = async () => null;\n"


def greeting(version: str) -> dict[str, Any]:
    return {"inline": {"main.py": f"def handle(event, context):\n    return {{'version': {version!r}}}\n"}}


def test_a_code_change_answers_with_the_new_version_and_no_job_was_made(live: Live) -> None:
    log = Audit(datetime.now(UTC))
    live.start("laid", runtime="python", source=greeting("one"))
    before = live.ready("laid")
    live.answer("laid", {}, {"version": "one"}.__eq__)
    live.start("laid", runtime="python", source=greeting("two"))
    live.ready("laid", image_other_than=before)
    live.answer("laid", {}, {"version": "two"}.__eq__)
    assert not [job for job in log.jobs(BUILDS) if job.build.rpartition("-")[0] == "laid"]
    assert not [request for request in log.made("pods", [BUILDS]) if request.name.startswith("laid-")]
    live.delete("laid")


SOURCES: dict[str, tuple[str, dict[str, str]]] = {
    "python": ("python", {"main.py": CODE, "deep/er/data.json": "{}", "ümlaut.txt": "ü"}),
    "node": ("node", {"index.js": "exports.handle = async () => null;\n", "lib/help.js": "exports.help = 1;\n"}),
    "python-installed": ("python", {"main.py": CODE, "requirements.txt": "inflection==0.5.1\n"}),
    "node-installed": ("node", {"index.js": NODE, "package.json": '{"dependencies": {"ms": "2.1.3"}}'}),
}


@pytest.mark.parametrize("sort", SOURCES)
def test_both_builders_make_the_same_of_a_source(live: Live, sort: str) -> None:
    """Same files, owners and modes; same user, environment, folder and entrypoint; upon the same layers of the base."""
    name, pusher = f"both-{sort}", HttpPusher(RegistrySettings(insecure=True))
    runtime, files = SOURCES[sort]
    seen, image = {}, ""
    for builder in ("kaniko", "layer"):
        live.start(name, runtime=runtime, source={"inline": files}, builder=builder)
        build = built(live, name, image)
        image = build["status"]["image"]
        seen[builder] = look(pusher, build["spec"]["base"], image)
    one, other = (seen[builder].pop("files") for builder in ("layer", "kaniko"))
    differ = {path: (one.get(path), other.get(path)) for path in one | other if one.get(path) != other.get(path)}
    assert not differ
    assert seen["layer"] == seen["kaniko"]
    manifest = pusher.manifest(image)
    assert manifest is not None
    host, _, repository = image.partition("@")[0].partition("/")
    check(manifest.body, lambda digest: live.http.request("GET", f"http://{host}/v2/{repository}/blobs/{digest}").data)
    said = subprocess.run(["crane", "validate", "--insecure", "--remote", image], capture_output=True, check=False)
    assert said.returncode == 0, said.stderr
    live.delete(name)


def built(live: Live, name: str, before: str) -> Object:
    """Return a function's newest Build, once its image is another one than before."""

    def newest() -> Object | None:
        wanted = (live.function(name) or {}).get("status", {}).get("latestBuild")
        found = next((build for build in live.builds(name) if build["metadata"]["name"] == wanted), {})
        return found if found.get("status", {}).get("image", before) != before else None

    found: Object = within(180, f"{name} is built", newest, every=1)
    return found


def look(pusher: Pusher, base: str, image: str) -> dict[str, Any]:
    """Return what is to be the same of two images: what they run, their base's layers, and all files above these."""
    (below, _), (manifest, config) = described(pusher, base), described(pusher, image)
    entries: dict[str, Any] = {}
    for layer in manifest["layers"][len(below["layers"]) :]:
        place = f"{image.partition('@')[0]}@{layer['digest']}"
        body = subprocess.run(["crane", "blob", "--insecure", place], capture_output=True, check=True).stdout
        for name, *about, _, content in files(body):
            assert ".wh." not in name, "nothing of the base is removed"
            # what Python compiles says when its source was written
            entries[name.strip("/")] = (*about, "" if name.endswith(".pyc") else sha256(content))
    entries.pop("", None)  # Kaniko says of the root what the base has said
    runs = {key: value for key, value in config["config"].items() if key != "Labels" and value}
    return {
        "runs": runs,
        "platform": (config["os"], config["architecture"]),
        "base": config["rootfs"]["diff_ids"][: len(below["layers"])],
        "files": entries,
    }


def described(pusher: Pusher, image: str) -> tuple[Object, Object]:
    """Return an image's manifest and its config."""
    manifest = pusher.manifest(image)
    assert manifest is not None
    said = json.loads(manifest.body)
    return said, json.loads(pusher.blob(image.partition("@")[0], said["config"]["digest"]) or b"{}")
