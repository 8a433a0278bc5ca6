"""References of images: when two of them are of one place."""

import pytest

from knative_lambda.builds.images import references


@pytest.mark.parametrize(
    ("reference", "whole"),
    [
        ("registry.test/acme/hello:1", "registry.test/acme/hello:1"),
        ("Registry.Test/acme/hello:1", "registry.test/acme/hello:1"),
        ("registry.test:443/acme/hello", "registry.test/acme/hello"),
        ("registry.test:80/acme/hello", "registry.test/acme/hello"),
        ("registry.test:8443/acme/hello", "registry.test:8443/acme/hello"),
        ("10.99.0.1:5000/", "10.99.0.1:5000/"),
        ("localhost/acme/hello", "localhost/acme/hello"),
        ("acme/hello", "docker.io/acme/hello"),
        ("index.docker.io/acme/hello", "docker.io/acme/hello"),
        ("hello", "docker.io/hello"),
    ],
)
def test_a_reference_has_its_host_in_one_form(reference: str, whole: str) -> None:
    assert references.whole(reference) == whole


@pytest.mark.parametrize("behind", ["", ":1", "@sha256:abc", ":1@sha256:abc"])
def test_a_repository_is_named_without_tag_and_digest(behind: str) -> None:
    assert references.repository(f"Registry.test:5000/acme/hello{behind}") == "registry.test:5000/acme/hello"
