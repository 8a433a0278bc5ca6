"""Where an API server is, and how it is asked: its address, connections that trust it, and the token of who asks.

Called by `kubernetes.py`. In a pod all of it lies in a folder. Outside, a kubeconfig may say it in a dozen ways: the
`kubernetes` package knows them and is loaded for that alone, since it takes as long as everything else together.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from urllib3 import PoolManager

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.redaction import learn

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where a pod finds what its ServiceAccount has: ``token`` and ``ca.crt``."""


@dataclass(frozen=True)
class Access:
    """An API server, and whoever asks it."""

    url: str
    connections: PoolManager
    authorization: Callable[[], str]
    """Returns what the header of that name says, "" for none; raises `OSError` or `Unavailable` where that is lost."""


def of_pod(account: Path, connections: int) -> Access | None:
    """Return the access that this process has by the ServiceAccount in a folder, or None where it is in no pod."""
    host, port = (os.environ.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
    token, authority = account / "token", account / "ca.crt"
    if not (host and port and token.is_file() and authority.is_file()):
        return None
    address = f"[{host}]" if ":" in host else host

    def authorization() -> str:
        # read each time: it is rotated, and lies in memory
        return f"Bearer {learn(token.read_text().strip(), passing=True)}"

    pool = PoolManager(ca_certs=str(authority), cert_reqs="CERT_REQUIRED", maxsize=connections, retries=False)
    return Access(f"https://{address}:{port}", pool, authorization)


def of_kubeconfig(file: str, context: str, connections: int) -> Access:
    """Return the access that a kubeconfig gives ("": the one that kubectl would take); raise `Unavailable` for none."""
    from kubernetes import config  # noqa: PLC0415 - see the module's docstring
    from kubernetes.client.configuration import Configuration  # noqa: PLC0415 - the same
    from kubernetes.client.rest import RESTClientObject  # noqa: PLC0415 - the same

    configuration = Configuration(connection_pool_maxsize=connections)
    configuration.retries = False

    def authorization() -> str:
        try:
            return configuration.get_api_key_with_prefix("BearerToken") or ""  # asks a command again, where that is due
        except config.ConfigException as error:
            raise Unavailable("cluster", str(error)) from error

    try:
        config.load_kube_config(file or None, context or None, configuration, persist_config=False)  # type: ignore[no-untyped-call] # the package's own lack
    except (config.ConfigException, OSError) as error:
        raise Unavailable("cluster", str(error)) from error
    return Access(configuration.host, RESTClientObject(configuration).pool_manager, authorization)
