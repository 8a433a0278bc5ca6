"""Code alone on a real cluster: a change answers anew, no Job was made, and the image is as Kaniko makes it."""

import json
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest
from support.audit import Audit
from support.images import check, files
from support.live import TENANT, Live, within

from knative_lambda.builds.pusher import Pusher
from knative_lambda.builds.pusher_http import HttpPusher
from knative_lambda.builds.registry_client import RegistrySettings
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names

BUILDS = names.builds_namespace(TENANT)
FUNCTION = "/function"


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


def test_a_function_whose_code_gets_a_dependency_is_built_in_a_job_and_says_why(live: Live) -> None:
    live.start("grows", runtime="python", source=greeting("one"))
    before = live.ready("grows")
    files = {**greeting("two")["inline"], "requirements.txt": "\n"}
    live.start("grows", runtime="python", source={"inline": files})
    live.ready("grows", image_other_than=before)
    newest = (live.function("grows") or {})["status"]["latestBuild"]
    [build] = [each for each in live.builds("grows") if each["metadata"]["name"] == newest]
    assert build["spec"]["builder"] == "kaniko"
    assert "requirements.txt" in condition(build, "BuilderChosen")["message"]
    live.delete("grows")


SOURCES = {
    "python": {"main.py": "def handle(event, context): ...\n", "deep/er/data.json": "{}", "ümlaut.txt": "ü"},
    "node": {"index.js": "exports.handle = async () => null;\n", "lib/help.js": "exports.help = 1;\n"},
}


@pytest.mark.parametrize("runtime", SOURCES)
def test_both_builders_make_the_same_of_a_source(live: Live, runtime: str) -> None:
    """Same files, owners and modes; same user, environment, folder and entrypoint; upon the same layers of the base."""
    name, pusher = f"both-{runtime}", HttpPusher(RegistrySettings(insecure=True))
    seen, image = {}, ""
    for builder in ("kaniko", "layer"):
        live.start(name, runtime=runtime, source={"inline": SOURCES[runtime]}, builder=builder)
        image = built(live, name, image)
        seen[builder] = look(pusher, image)
    assert seen["layer"] == seen["kaniko"]
    manifest = pusher.manifest(image)
    assert manifest is not None
    host, _, repository = image.partition("@")[0].partition("/")
    check(manifest.body, lambda digest: live.http.request("GET", f"http://{host}/v2/{repository}/blobs/{digest}").data)
    said = subprocess.run(["crane", "validate", "--insecure", "--remote", image], capture_output=True, check=False)
    assert said.returncode == 0, said.stderr
    live.delete(name)


def built(live: Live, name: str, before: str) -> str:
    """Return the image of a function's newest Build, once that is another one than before."""

    def newest() -> str:
        wanted = (live.function(name) or {}).get("status", {}).get("latestBuild")
        images = [b.get("status", {}).get("image", "") for b in live.builds(name) if b["metadata"]["name"] == wanted]
        return next((image for image in images if image != before), "")

    return str(within(180, f"{name} is built", newest, every=1))


def look(pusher: Pusher, image: str) -> dict[str, Any]:
    """Return what is to be the same of two images: what they run, their base's layers, and the files of the code."""
    repository = image.partition("@")[0]
    manifest = pusher.manifest(image)
    assert manifest is not None
    said = json.loads(manifest.body)
    config = json.loads(pusher.blob(repository, said["config"]["digest"]) or b"{}")
    last = pusher.blob(repository, said["layers"][-1]["digest"])
    assert last is not None
    entries = {
        entry[0].strip("/"): entry[1:4] + entry[5:]
        for entry in files(last)
        if entry[0].startswith(("function", FUNCTION))
    }
    runs = {key: value for key, value in config["config"].items() if key != "Labels" and value}
    platform = (config["os"], config["architecture"])
    return {"runs": runs, "platform": platform, "base": config["rootfs"]["diff_ids"][:-1], "files": entries}
