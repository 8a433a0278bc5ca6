"""Keys for tests, and a look at an image's papers that is not the product's: openssl's and cosign's."""

import base64
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from knative_lambda.builds.images.pusher import Pusher

SIGNATURE = "dev.cosignproject.cosign/signature"


def keys(folder: Path, *, curve: str = "prime256v1") -> Path:
    """Return a folder with a key to sign with, PEM, and its public one, both made by openssl."""
    folder.mkdir(exist_ok=True)
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", folder / "cosign.key")
    openssl("pkey", "-in", folder / "cosign.key", "-pubout", "-out", folder / "cosign.pub")
    return folder


COST = {"N": 1 << 15, "r": 8, "p": 1}
"""Of a password, as cosign has it."""


def sealed(folder: Path, password: bytes, **more: int) -> Path:
    """Seal a folder's key with a password as ``cosign generate-key-pair`` does, and put that beside it.

    `more` has factors of its cost that differ.
    """
    from nacl.secret import SecretBox  # noqa: PLC0415 - few tests need it

    der = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", folder / "cosign.key", "-outform", "DER"],
        check=True,
        capture_output=True,
    ).stdout
    salt, nonce = os.urandom(32), os.urandom(SecretBox.NONCE_SIZE)
    cost = {**COST, **more}
    key = hashlib.scrypt(password, salt=salt, n=cost["N"], r=cost["r"], p=cost["p"], maxmem=1 << 28, dklen=32)
    said = {
        "kdf": {"name": "scrypt", "params": cost, "salt": _text(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _text(nonce)},
        "ciphertext": _text(SecretBox(key).encrypt(der, nonce).ciphertext),
    }
    body = base64.encodebytes(json.dumps(said).encode()).decode()
    label = "ENCRYPTED SIGSTORE PRIVATE KEY"
    (folder / "cosign.key").write_text(f"-----BEGIN {label}-----\n{body}-----END {label}-----\n")
    (folder / "cosign.password").write_bytes(password)
    return folder


def openssl(*args: object) -> str:
    done = subprocess.run(["openssl", *map(str, args)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout


def verifies(folder: Path, signature: bytes, body: bytes, work: Path) -> bool:
    """Say whether openssl takes this for a signature of these bytes by the folder's public key."""
    (work / "signature").write_bytes(signature)
    (work / "body").write_bytes(body)
    key = ["-verify", str(folder / "cosign.pub"), "-signature", str(work / "signature"), str(work / "body")]
    return subprocess.run(["openssl", "dgst", "-sha256", *key], check=False, capture_output=True).returncode == 0


def signed(image: str, pusher: Pusher) -> list[tuple[bytes, bytes]]:
    """Return the payloads and signatures that cosign finds for an image."""
    repository, _, digest = image.partition("@")
    found = pusher.manifest(f"{repository}:{digest.replace(':', '-')}.sig")
    layers = json.loads(found.body)["layers"] if found else []
    return [
        (pusher.blob(repository, layer["digest"]) or b"", base64.b64decode(layer["annotations"][SIGNATURE]))
        for layer in layers
    ]


def listed(image: str, pusher: Pusher) -> dict[str, bytes]:
    """Return the documents about an image, by their kind, as the list under its tag has them."""
    repository, _, digest = image.partition("@")
    found = pusher.manifest(f"{repository}:{digest.replace(':', '-')}")
    documents = {}
    for entry in json.loads(found.body)["manifests"] if found else []:
        manifest = pusher.manifest(f"{repository}@{entry['digest']}")
        assert manifest is not None, entry
        said = json.loads(manifest.body)
        assert said["subject"]["digest"] == digest
        assert said["artifactType"] == entry["artifactType"]
        documents[said["artifactType"]] = pusher.blob(repository, said["layers"][0]["digest"]) or b""
    return documents


def statement(document: bytes) -> dict[str, Any]:
    """Return an in-toto statement, out of its envelope where it has one."""
    said: dict[str, Any] = json.loads(document)
    return json.loads(base64.b64decode(said["payload"])) if "payload" in said else said


def _text(body: bytes) -> str:
    return base64.b64encode(body).decode()
