"""A layer upon a base, byte by byte: what Kaniko would have made of the same context, and what OCI says of an image."""

import gzip
import json
import os
import tracemalloc
from importlib import resources
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import BASE, RUNS, Made, check, files, made, sha256, tarred

from knative_lambda.builds.images import layers
from knative_lambda.builds.images.layers import Base, Image, Layer
from knative_lambda.builds.images.pusher import Blob, Manifest
from knative_lambda.builds.inputs import archive, source
from knative_lambda.builds.inputs.archive import File
from knative_lambda.builds.inputs.source import CODE
from knative_lambda.schemas.errors import Refused

PINNED = "sha256:" + "b" * 64
REFERENCE = f"registry.test/python@{PINNED}"
LABELS = {"org.opencontainers.image.title": "hello", "knative-lambda.dev/input-hash": "sha256:in"}
DOCKER = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)


def context(**code: File) -> archive.Packed:
    inside = {CODE + path.replace("__", "/"): file for path, file in code.items()}
    return archive.pack({"Dockerfile": File(b"FROM x\n"), **inside})


def laid(packed: archive.Packed, runtime: str = "python") -> Layer:
    return layers.code_layer(packed.body, packed.digest, CODE, lambda path: source.needs_job(runtime, path))


def base(image: Made = BASE, reference: str = REFERENCE) -> Base:
    return layers.base_of(reference, image.manifest, image.blobs[-1])


def upon(image: Made = BASE, code: bytes = b"code") -> Image:
    return layers.upon(base(image), laid(context(main=File(code))), LABELS, "COPY function/ /function/")


def body_of(blob: Blob) -> bytes:
    return b"".join(blob.pieces())


def blobs(image: Image, below: Made) -> Any:
    there = {sha256(body): body for body in (*below.blobs, body_of(image.layer), image.config)}
    return there.get


def test_the_layer_is_what_copy_makes_of_the_context() -> None:
    """Root's, as executable as it was, each folder before its files, without a time; the Dockerfile stays out."""
    packed = context(main=File(b"code"), bin__run=File(b"#!", executable=True), bin__deep__data=File(b""))
    assert files(body_of(laid(packed).blob)) == [
        ("function/", 0o755, 0, 0, 0, b""),
        ("function/bin/", 0o755, 0, 0, 0, b""),
        ("function/bin/deep/", 0o755, 0, 0, 0, b""),
        ("function/bin/deep/data", 0o644, 0, 0, 0, b""),
        ("function/bin/run", 0o755, 0, 0, 0, b"#!"),
        ("function/main", 0o644, 0, 0, 0, b"code"),
    ]


def test_a_large_layer_is_never_held() -> None:
    """Neither while it is named nor while it is sent; nor is what it was made of, beside the context."""
    packed = context(data=File(os.urandom(12 << 20)))
    tracemalloc.start()
    try:
        blob = laid(packed).blob
        assert sum(map(len, blob.pieces())) == blob.size > 12 << 20
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("runtime", ["python", "node"])
def test_the_dockerfile_of_code_alone_does_nothing_but_that_copy(runtime: str) -> None:
    """Whoever changes it has to change the layer too."""
    recipe = resources.files("knative_lambda.builds").joinpath("runtimes", runtime, "function.Dockerfile").read_text()
    steps = [line for line in recipe.splitlines() if not line.startswith("#")]
    assert steps == ["ARG BASE", "FROM ${BASE}", "COPY function/ /function/"]


def test_equal_input_is_an_equal_image() -> None:
    """Written down, so that a release that changes them is seen: every function would be built anew with its next."""
    first, second = upon(), upon()
    assert first == second
    assert gzip.decompress(body_of(first.layer))[:9] == b"function/"
    assert [sha256(first.config), sha256(gzip.decompress(body_of(first.layer)))] == [
        "sha256:08946c2b0c7d92ff4721ff7fa2a832c1755f9a24ad6052053a502933b832eac0",
        "sha256:e57fa50fbf6c0716053a37bb0630360c5c52f16bb55ff4c67dac28731810c37c",
    ]


def test_whatever_differs_makes_another_image() -> None:
    others = [upon(code=b"other"), upon(made(tarred(wrapper="one")))]
    assert len({sha256(image.manifest.body) for image in (upon(), *others)}) == 3


def test_what_the_base_says_of_itself_stays() -> None:
    image = upon()
    config = check(image.manifest.body, blobs(image, BASE))
    labels = config["config"].pop("Labels")
    assert config["config"] == {name: value for name, value in RUNS.items() if name != "Labels"}
    assert labels == {
        **RUNS["Labels"],  # type: ignore[dict-item]
        **LABELS,
        "org.opencontainers.image.base.name": "registry.test/python",
        "org.opencontainers.image.base.digest": PINNED,
    }
    assert config["created"] == "2026-01-01T00:00:00Z"
    assert config["history"][-1] == {"created_by": "COPY function/ /function/"}
    assert json.loads(image.manifest.body)["annotations"].keys() == labels.keys() - RUNS["Labels"].keys()  # type: ignore[attr-defined]


def test_an_image_of_dockers_becomes_one_of_ocis_with_the_same_blobs() -> None:
    below = made(tarred(wrapper="one"), types=DOCKER)
    image = upon(below)
    check(image.manifest.body, blobs(image, below))
    said = json.loads(image.manifest.body)
    assert {layer["mediaType"] for layer in said["layers"]} == {layers.LAYER}
    assert said["layers"][0]["digest"] == json.loads(below.manifest.body)["layers"][0]["digest"]


def test_a_layer_that_lies_elsewhere_stays_there() -> None:
    said = json.loads(BASE.manifest.body)
    foreign = {**said["layers"][0], "mediaType": DOCKER[2].replace("diff", "foreign.diff"), "urls": ["https://x.test"]}
    manifest = Manifest(DOCKER[0], layers.canonical({**said, "layers": [foreign, said["layers"][1]]}))
    found = layers.base_of(REFERENCE, manifest, BASE.blobs[-1])
    assert found.blobs == [said["layers"][1]]
    image = layers.upon(found, laid(context(main=File(b""))), LABELS, "COPY")
    kept = json.loads(image.manifest.body)["layers"][0]
    assert kept["mediaType"] == "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    assert kept["urls"] == ["https://x.test"]


@pytest.mark.parametrize("history", [None, [], [{"created_by": "of another image"}]])
def test_a_history_that_tells_of_other_layers_gets_none_of_ours(history: Any) -> None:
    """The rule is one step for each layer: it is not made worse."""
    image = upon(made(tarred(wrapper="one"), tarred(wrapper="two"), history=history))
    assert json.loads(image.config)["history"] == history


def test_a_base_without_labels_or_anything_to_run_gets_labels_alone() -> None:
    image = upon(made(tarred(wrapper="one"), config=None))
    assert json.loads(image.config)["config"].keys() == {"Labels"}


def index(*platforms: str) -> Manifest:
    entries = []
    for platform in platforms:
        os, architecture, *variant = platform.split("/")
        about = {"os": os, "architecture": architecture} | ({"variant": variant[0]} if variant else {})
        entries.append({"digest": sha256(platform.encode()), "platform": about})
    return Manifest(layers.INDEX, json.dumps({"manifests": [{"digest": "sha256:none"}, *entries]}).encode())


@pytest.mark.parametrize(
    ("platform", "chosen"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
    ],
)
def test_of_several_images_the_platforms_own_is_chosen(platform: str, chosen: str) -> None:
    several = index("windows/amd64", "unknown/unknown", "linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64")
    assert layers.chosen(several, platform) == sha256(chosen.encode())


def test_a_base_that_has_nothing_for_the_platform_is_refused() -> None:
    with pytest.raises(Refused, match="nothing for linux/s390x"):
        layers.chosen(index("linux/amd64"), "linux/s390x")


@pytest.mark.parametrize(
    ("manifest", "config", "why"),
    [
        (Manifest("application/x", BASE.manifest.body), BASE.blobs[-1], "of a kind"),
        (Manifest(layers.MANIFEST, b"{}"), BASE.blobs[-1], "of a kind"),
        (Manifest(layers.MANIFEST, b"["), BASE.blobs[-1], "no JSON"),
        (BASE.manifest, b"[]", "no JSON object"),
        (BASE.manifest, b'{"rootfs": {"diff_ids": ["sha256:1"]}}', "not of its manifest"),
    ],
)
def test_a_base_that_makes_no_sense_is_refused(manifest: Manifest, config: bytes, why: str) -> None:
    with pytest.raises(Refused, match=why):
        layers.base_of(REFERENCE, manifest, config)


@pytest.mark.parametrize("body", [b"{}", b'{"config": {"digest": 3}}', b'{"config": {"digest": "md5:1"}}'])
def test_a_manifest_without_a_config_is_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="no config"):
        layers.config_of(Manifest(layers.MANIFEST, body))


@pytest.mark.parametrize(
    ("runtime", "path", "why"),
    [
        ("python", "data/.wh.main.py", "removal"),
        ("dockerfile", "Dockerfile", "Dockerfile"),
    ],
)
def test_what_takes_a_job_is_not_laid_even_where_somebody_asks(runtime: str, path: str, why: str) -> None:
    """Code without its dependencies would be deployed, and fail with the first event."""
    packed = archive.pack({"Dockerfile": File(b""), CODE + path: File(b"")})
    with pytest.raises(Refused, match=why):
        laid(packed, runtime)


def test_a_list_of_another_runtimes_dependencies_is_a_file_like_any() -> None:
    names = [name for name, *_ in files(body_of(laid(context(**{"package.json": File(b"{}")})).blob))]
    assert names == ["function/", "function/package.json"]


def test_a_context_is_believed_by_its_hash_alone() -> None:
    packed = context(main=File(b"code"))
    for body in (packed.body[:-20], b"no gzip", gzip.compress(b"no tar"), context(main=File(b"other")).body):
        with pytest.raises(Refused, match=r"damaged|not the one"):
            layers.code_layer(body, packed.digest, CODE, lambda _path: "")


def test_a_context_that_unpacks_to_more_than_is_laid_is_refused_while_it_is_read() -> None:
    packed = context(zeros=File(bytes(layers.BOUNDS.unpacked)))
    assert len(packed.body) < 100_000
    with pytest.raises(Refused, match="50 MiB"):
        laid(packed)


@pytest.mark.parametrize(
    ("packed", "unpacked", "why"),
    [
        (layers.BOUNDS.packed, layers.BOUNDS.unpacked, ""),
        (layers.BOUNDS.packed + 1, 10, "12.5 MiB packed"),
        (10, layers.BOUNDS.unpacked + 1, "50 MiB"),
    ],
)
def test_the_sizes_of_what_is_laid(packed: int, unpacked: int, why: str) -> None:
    assert why in layers.BOUNDS.unfit(packed, unpacked)
    assert bool(why) == bool(layers.BOUNDS.unfit(packed, unpacked))


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.from_regex(r"[a-zé]{1,60}(/[a-z.]{1,90}[a-z]){0,3}", fullmatch=True), st.binary(max_size=2000), min_size=1
    )
)
def test_every_file_of_any_source_is_in_the_layer(bodies: dict[str, bytes]) -> None:
    code = {path: File(body) for path, body in bodies.items()}
    if list(archive.clashes(code, "")) or any(source.needs_job("python", path) for path in code):
        return
    packed = archive.pack({CODE + path: file for path, file in code.items()})
    found = {name: body for name, *_, body in files(body_of(laid(packed).blob)) if not name.endswith("/")}
    assert found == {CODE + path: body for path, body in bodies.items()}
