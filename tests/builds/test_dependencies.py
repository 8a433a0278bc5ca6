"""What a source asks to be installed: whether it asks for anything, and what decides about that alone."""

from collections.abc import Mapping

import pytest

from knative_lambda.builds.dependencies import NPM, PIP, Lists, asked, image
from knative_lambda.builds.inputs.archive import File

BUILD = {"runtime": "python", "base": "registry/python@sha256:1", "dependencies": "sha256:2"}


def of(lists: Lists, recipe: bytes = b"", /, **more: bytes) -> str:
    files = {"main.py": File(b""), **{name: File(body) for name, body in more.items()}}
    return asked(lists, files, recipe)


def listed(lists: Lists, body: bytes, **more: bytes) -> str:
    return of(lists, **{lists.first: body, **more})


@pytest.mark.parametrize(
    ("lists", "body"),
    [
        (PIP, b""),
        (PIP, b"\n  \n# one day: requests\n\t# and more \\\n"),
        (NPM, b"{}"),
        (NPM, b'{"type": "module", "name": "hello", "scripts": {"test": "node --test"}, "dependencies": {}}'),
        (NPM, b'{"devDependencies": {"eslint": "9"}, "overrides": {"a": "1"}}'),
    ],
)
def test_a_list_that_asks_for_nothing_installs_nothing(lists: Lists, body: bytes) -> None:
    assert listed(lists, body) == ""


@pytest.mark.parametrize(
    ("lists", "body"),
    [
        (PIP, b"inflection"),
        (PIP, b"# comment\rinflection"),
        (PIP, "# comment\u2028inflection".encode()),
        (PIP, b"# comment \\\ninflection"),
        (PIP, b"--requirement requirements-more.txt"),
        (PIP, b"\xff\xfe#\x00"),
        (NPM, b'{"dependencies": {"nanoid": "5"}}'),
        (NPM, b'{"optionalDependencies": {"nanoid": "5"}}'),
        (NPM, b'{"peerDependencies": {"nanoid": "5"}}'),
        (NPM, b'{"workspaces": ["a"]}'),
        (NPM, b'{"bundledDependencies": true}'),
        (NPM, b'{"scripts": {"postinstall": "node make.js"}}'),
        (NPM, b'{"scripts": ["what"]}'),
        (NPM, b"[]"),
        (NPM, b"{"),
        (NPM, b"\xff"),
        (NPM, b"[" * 100_000),
    ],
)
def test_whatever_else_there_is_the_package_manager_is_asked(lists: Lists, body: bytes) -> None:
    """It says best what is wrong with what is no list at all."""
    assert listed(lists, body).startswith("sha256:")


def test_a_list_of_another_name_is_none() -> None:
    assert of(PIP, **{"requirements-dev.txt": b"x", "package.json": b"{", "lib/requirements.txt": b"x"}) == ""


@pytest.mark.parametrize(
    ("lists", "more"),
    [
        (PIP, {"requirements-more.txt": b"y"}),
        (PIP, {"requirements.d.txt/file": b"y"}),
        (NPM, {"package-lock.json": b"{}"}),
        (NPM, {"npm-shrinkwrap.json": b"{}"}),
        (NPM, {".npmrc": b"registry=https://elsewhere.test"}),
    ],
)
def test_every_file_that_is_there_when_they_are_installed_decides(lists: Lists, more: Mapping[str, bytes]) -> None:
    assert listed(lists, b'{"dependencies": {"x": "1"}}', **more) != listed(lists, b'{"dependencies": {"x": "1"}}')


def test_two_shrinkwraps_have_two_keys() -> None:
    package = b'{"dependencies": {"x": "1"}}'
    keys = {listed(NPM, package, **{"npm-shrinkwrap.json": body}) for body in (b'{"a": 1}', b'{"a": 2}')}
    assert len(keys) == 2


def test_code_decides_nothing() -> None:
    assert listed(PIP, b"x", **{"lib/help.py": b"1", "lib/requirements.txt": b"z"}) == listed(PIP, b"x")


def test_a_comment_more_is_another_list_and_so_is_another_recipe() -> None:
    """What is installed may follow from either: nobody here reads them as the package manager does."""
    assert len({listed(PIP, b"x"), listed(PIP, b"x # why"), of(PIP, b"RUN", **{"requirements.txt": b"x"})}) == 3


def test_an_images_name_follows_from_all_that_shapes_it() -> None:
    names = {
        image("registry", "acme", {**BUILD, **other}, platform)
        for other in ({}, {"runtime": "node"}, {"base": "registry/python@sha256:3"}, {"dependencies": "sha256:4"})
        for platform in ("linux/amd64", "linux/arm64")
    }
    assert len(names) == 8


def test_an_image_is_a_tenants_alone_and_no_functions() -> None:
    assert image("registry", "acme", BUILD, "linux/amd64").startswith("registry/acme/dependencies.python:")
    assert image("registry", "other", BUILD, "linux/amd64").startswith("registry/other/dependencies.python:")


def test_where_the_base_lies_decides_nothing() -> None:
    moved = {**BUILD, "base": "mirror/elsewhere/python@sha256:1"}
    assert image("registry", "acme", moved, "linux/amd64") == image("registry", "acme", BUILD, "linux/amd64")
