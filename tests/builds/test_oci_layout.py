import hashlib
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest

from knative_lambda.builds.images.oci_layout import OciLayout
from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import File
from knative_lambda.schemas.errors import Refused, Unavailable

CONFIG = {"Cmd": ["python3", "serve.py"], "WorkingDir": "/function"}


def layer(**files: str) -> bytes:
    return archive.canonical({name: File(text.encode()) for name, text in files.items()})


@pytest.fixture
def layout(tmp_path: Path) -> OciLayout:
    return OciLayout(tmp_path / "layout")


def test_a_pushed_image_is_known_by_its_tag_and_by_its_digest_in_its_repository(layout: OciLayout) -> None:
    digest = layout.push("embedded.local/demo/hello:1", [layer(a="1")], CONFIG)

    assert layout.digest("embedded.local/demo/hello:1") == digest
    assert layout.digest(f"embedded.local/demo/hello@{digest}") == digest
    assert layout.digest("embedded.local/demo/hello:2") is None
    assert layout.digest(f"embedded.local/other/hello@{digest}") is None
    assert layout.config(digest) == CONFIG
    assert layout.config("sha256:" + "0" * 64) is None


def test_what_a_moved_tag_named_is_still_known_by_its_digest(layout: OciLayout) -> None:
    old = layout.push("embedded.local/demo/hello:1", [layer(a="1")], CONFIG)
    new = layout.push("embedded.local/demo/hello:1", [layer(a="2")], CONFIG)

    assert layout.digest("embedded.local/demo/hello:1") == new != old
    assert layout.digest(f"embedded.local/demo/hello@{old}") == old


def test_equal_images_have_equal_digests_and_follow_the_image_specification(tmp_path: Path, layout: OciLayout) -> None:
    content = layer(a="1")
    digest = layout.push("embedded.local/demo/hello:1", [content], CONFIG)
    again = OciLayout(tmp_path / "other").push("embedded.local/demo/other:7", [content], CONFIG)

    blobs = tmp_path / "layout" / "blobs" / "sha256"
    manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
    config = json.loads((blobs / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes())
    [entry] = manifest["layers"]
    assert again == digest
    assert entry["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}" == config["rootfs"]["diff_ids"][0]
    assert entry["size"] == len(content)
    assert json.loads((tmp_path / "layout" / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_layers_are_unpacked_in_order_and_once(tmp_path: Path, layout: OciLayout) -> None:
    """A layer that is a file counts like one in memory, and a later one overwrites an earlier one's files."""
    (tmp_path / "layer.tar").write_bytes(layer(a="old", b="kept"))
    digest = layout.push("embedded.local/demo/hello:1", [tmp_path / "layer.tar", layer(a="new")], CONFIG)
    target = tmp_path / "root"

    layout.unpack(digest, target)
    (target / "a").write_text("mine")
    layout.unpack(digest, target)

    assert (target / "a").read_text() == "mine"
    assert (target / "b").read_text() == "kept"


def test_only_the_right_to_execute_is_kept_of_a_mode(tmp_path: Path, layout: OciLayout) -> None:
    content = archive.canonical({"run": File(b"", executable=True), "data": File(b"")})

    layout.unpack(layout.push("embedded.local/demo/hello:1", [content], CONFIG), tmp_path / "root")

    assert (tmp_path / "root" / "run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "root" / "data").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "/etc/passwd"},
        {"name": "../outside"},
        {"name": "a/../../outside"},
        {"name": "link", "type": tarfile.SYMTYPE, "linkname": "/etc"},
        {"name": "link", "type": tarfile.LNKTYPE, "linkname": "a"},
        {"name": "device", "type": tarfile.CHRTYPE},
        {"name": "pipe", "type": tarfile.FIFOTYPE},
    ],
    ids=lambda entry: f"{entry['name']}-{entry.get('type', b'0').decode()}",
)
def test_an_entry_that_could_lead_outside_is_refused_and_leaves_nothing(
    tmp_path: Path, layout: OciLayout, entry: dict[str, object]
) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        info = tarfile.TarInfo()
        for field, value in entry.items():
            setattr(info, field, value)
        tar.addfile(info)
    digest = layout.push("embedded.local/demo/hello:1", [content.getvalue()], CONFIG)

    with pytest.raises(Refused, match="no plain file"):
        layout.unpack(digest, tmp_path / "roots" / "root")

    assert list((tmp_path / "roots").iterdir()) == []


def test_images_pushed_at_once_are_all_there_afterwards(tmp_path: Path) -> None:
    """Each thread has an object of its own, as processes have."""

    def push(number: int) -> None:
        OciLayout(tmp_path).push(f"embedded.local/demo/hello:{number}", [layer(a=str(number))], CONFIG)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    layout = OciLayout(tmp_path)
    assert all(layout.digest(f"embedded.local/demo/hello:{number}") for number in range(12))


def test_an_image_unpacked_twice_at_once_is_there_once(tmp_path: Path, layout: OciLayout) -> None:
    digest = layout.push("embedded.local/demo/hello:1", [layer(a="1")], CONFIG)
    threads = [threading.Thread(target=layout.unpack, args=(digest, tmp_path / "roots" / "root")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [path.name for path in (tmp_path / "roots").iterdir()] == ["root"]


def test_a_damaged_blob_is_not_run(tmp_path: Path, layout: OciLayout) -> None:
    content = layer(a="1")
    digest = layout.push("embedded.local/demo/hello:1", [content], CONFIG)
    (tmp_path / "layout" / "blobs" / "sha256" / hashlib.sha256(content).hexdigest()).write_bytes(b"damaged")

    with pytest.raises(Unavailable, match="damaged"):
        layout.unpack(digest, tmp_path / "root")


def test_a_folder_that_cannot_be_read_is_an_unavailable_registry(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "layout")
    (tmp_path / "layout" / "index.json").mkdir()

    with pytest.raises(Unavailable) as caught:
        layout.digest("embedded.local/demo/hello:1")

    assert caught.value.dependency == "registry"
    assert isinstance(caught.value.__cause__, OSError)


def test_a_reference_without_tag_and_digest_is_refused(layout: OciLayout) -> None:
    with pytest.raises(Refused):
        layout.digest("embedded.local/demo/hello")
