"""What the tests of builds share: a real registry."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.registry import HTPASSWD, Gate, gate, real_registry
from support.tokens import SERVICE, keys, trusting

from knative_lambda.builds.jobs.issuer_jwt import IssuerSettings, JwtIssuer


@pytest.fixture(scope="session")
def registry_program() -> str:
    """Return the program of a real registry; where it is missing, skip, or fail in CI."""
    program = shutil.which("docker-registry")
    if program is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("docker-registry is not on PATH")
    return program


@pytest.fixture(scope="module")
def server(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the host of a real registry, to which everybody may push."""
    with real_registry(registry_program, tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def before(server: str) -> Iterator[Gate]:
    """Yield a gate in front of the registry that lets everything pass."""
    with gate(server) as kept:
        yield kept


@pytest.fixture(scope="module")
def guarded(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the host of a registry that lets in who has a password."""
    home = tmp_path_factory.mktemp("guarded")
    (home / "htpasswd").write_text(HTPASSWD)
    auth = {"htpasswd": {"realm": "tests", "path": str(home / "htpasswd")}}
    with real_registry(registry_program, home, auth=auth) as host:
        yield host


@pytest.fixture(scope="module")
def secure(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield the host of a registry with a certificate of its own making, and a folder of who believes it."""
    home = tmp_path_factory.mktemp("secure")
    name = ["-subj", "/CN=registry", "-addext", "subjectAltName=IP:127.0.0.1"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(home / "key.pem")]
    command = ["openssl", "req", "-x509", "-days", "2", *key, "-out", str(home / "ca.crt"), *name]
    subprocess.run(command, check=True, capture_output=True)
    tls = {"certificate": str(home / "ca.crt"), "key": str(home / "key.pem")}
    with real_registry(registry_program, home, http={"tls": tls}) as host:
        yield host, home


@pytest.fixture(scope="module")
def tokened(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JwtIssuer]:
    """Yield the issuer of a registry that believes its tokens alone; its host is the registry's."""
    home = tmp_path_factory.mktemp("tokened")
    keys(home)
    with real_registry(registry_program, home, auth=trusting(home / "tls.crt")) as host:
        yield JwtIssuer(IssuerSettings(host, home, service=SERVICE))
