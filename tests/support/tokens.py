"""A registry that believes tokens, for tests: keys, what its configuration says, and an issuer that signs nothing."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knative_lambda.builds.jobs.issuer import Grant

SERVICE = "tests"
EC = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
RSA = ("rsa:2048",)


def keys(folder: Path, kind: Sequence[str] = EC) -> None:
    """Write a key, and a certificate of its own making, as a Secret of type kubernetes.io/tls has them."""
    files = ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    command = ["openssl", "req", "-x509", "-days", "2", "-newkey", *kind, "-nodes", "-subj", "/CN=tokens", *files]
    subprocess.run(command, check=True, capture_output=True)


def trusting(certificate: Path) -> dict[str, Any]:
    """Return what the registry's configuration says under ``auth``. Who has no token finds nobody at the realm."""
    said = {"realm": "http://127.0.0.1:9/token", "service": SERVICE, "issuer": "knative-lambda"}
    return {"token": {**said, "rootcertbundle": str(certificate)}}


@dataclass(frozen=True)
class FakeIssuer:
    """Says in a token what it is for."""

    host: str = "registry"

    def token(self, grants: Sequence[Grant], *, seconds: int) -> str:
        return json.dumps({each.repository: ",".join(each.actions) for each in grants})
