"""One conversation with a registry over HTTP: where it is, who we are, and whom it is believed to be.

Called by `registry_http.py`, which asks, and `pusher_http.py`, which pushes. urllib3's own retries are off: trying
again is the guard's business. Whoever asks for credentials gets those of the registry that sent us, and nobody else:
what a registry refers to elsewhere is asked without any.

https://distribution.github.io/distribution/spec/auth/token/ says how a token is got.
"""

import base64
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3

from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.builds.jobs.issuer import DELETE, PULL, PUSH, Grant, Issuer
from knative_lambda.builds.tenants import below
from knative_lambda.schemas.errors import NotLetIn, Unavailable, Untrusted
from knative_lambda.schemas.redaction import learn
from knative_lambda.schemas.tls import NOWHERE, Connections

REDIRECTS = 3
LIFE = 300
"""Seconds that a token of ours holds: longer than any request takes."""
_ACTIONS: Mapping[str, tuple[str, ...]] = {"GET": PULL, "HEAD": PULL, "DELETE": DELETE}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_MOVED = (301, 302, 303, 307, 308)
Body = bytes | Callable[[], Iterable[bytes]] | None
"""What is sent: bytes, or what begins to give them, piece by piece, each time that it is called."""
_Key = tuple[str, str, str, bool]
"""What a token is for: host, repository, another that is read beside it (or ""), and whether it is written."""


@dataclass(frozen=True)
class RegistrySettings:
    """How the registry is reached."""

    insecure: bool = False
    """Speak plain HTTP."""
    config: Path | None = None
    """A docker ``config.json`` with the credentials, read anew at each request so that a rotation is seen."""
    configs: Mapping[str, Path] = field(default_factory=dict)
    """Such files for what lies below a place alone, by how its references begin: there no other one counts."""
    timeout: float = 5.0
    """Seconds that one request may take."""
    trust: Path = NOWHERE
    """A folder as in `schemas/tls.py`: whom we believe to be the registry, and how it is told who we are."""
    copying: float = 15.0
    """Seconds that one blob may take which no registry hands over by itself."""
    issuer: Issuer | None = None
    """Who mints tokens for its registry, in the place of credentials: each is for one request's repository alone."""
    reach: Reach | None = None
    """Where connections may go to, however a registry refers there; None: anywhere."""


@dataclass(frozen=True)
class Place:
    """A reference taken apart."""

    host: str
    repository: str
    version: str = "latest"
    """A tag, or a digest."""

    @classmethod
    def of(cls, reference: str) -> "Place":
        """Split ``host/repository:tag`` or ``host/repository@digest``."""
        name, _, digest = reference.partition("@")
        host, _, path = name.partition("/")
        repository, _, tag = path.partition(":")
        return cls(host, repository, digest or tag or "latest")


@dataclass(frozen=True)
class _Request:
    method: str
    url: str
    headers: Mapping[str, str]
    body: Body = None
    stream: bool = False

    def saying(self, headers: Mapping[str, str]) -> "_Request":
        return replace(self, headers={**self.headers, **headers})


class Client:
    """Sends requests to registries: basic authentication where the config holds the host, a token where one is asked.

    Every method raises `Unavailable` ("registry") where nobody answers, `Untrusted` where somebody unknown does, and
    `Unsent` where a registry is, or refers to, somebody whom this may not reach.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._tokens: dict[_Key, str] = {}
        self._connections = Connections(
            NOWHERE if settings.insecure else settings.trust,
            urllib3.Timeout(connect=settings.timeout, read=settings.timeout),
            https=not settings.insecure,
            pool=settings.reach.pool if settings.reach else urllib3.PoolManager,
        )

    def send(
        self,
        method: str,
        place: Place,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Body = None,
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer to a request about a repository; `path` follows its name, or is a whole URL.

        A body may be begun twice: where a registry asks for credentials only once it was sent one.
        """
        return self._send(_Request(method, self._url(place, path), headers or {}, body), place)

    def read(self, place: Place, path: str, headers: Mapping[str, str] | None = None) -> urllib3.BaseHTTPResponse:
        """Return the answer to a question, its body still to be read, from wherever the registry refers to."""
        request = _Request("GET", self._url(place, path), headers or {}, stream=True)
        answer = self._send(request, place)
        for _ in range(REDIRECTS):
            where = answer.headers.get("Location", "")
            if answer.status not in _MOVED or not where:
                break
            answer.drain_conn()
            request = replace(request, url=urllib.parse.urljoin(request.url, where))
            answer = self._send(request, place)
        return answer

    @property
    def _http(self) -> urllib3.PoolManager:
        try:
            return self._connections.pool
        except OSError as error:  # as ssl's own are
            why = f"the certificates in {self._settings.trust} cannot be read: {error.strerror or error}"
            raise Unavailable("registry", why) from error

    def root(self, host: str) -> str:
        """Return the URL of a registry."""
        return f"{self._scheme}{host}"

    @property
    def _scheme(self) -> str:
        return "http://" if self._settings.insecure else "https://"

    def _url(self, place: Place, path: str) -> str:
        return urllib.parse.urljoin(f"{self.root(place.host)}/v2/{place.repository}/", path)

    def _send(self, request: _Request, place: Place) -> urllib3.BaseHTTPResponse:
        """Send a request, wherever a registry has referred to: what is private goes nowhere in clear text."""
        if not request.url.startswith(self._scheme):
            raise Unavailable("registry", f"{place.host} refers to an address that is not safe")
        if not request.url.startswith(f"{self.root(place.host)}/"):  # the credentials are for nobody else
            return self._answer(request)
        if minted := self._minted(request, place):
            return self._answer(request.saying(minted))
        key = (place.host, place.repository, _other(request.url), request.method not in ("GET", "HEAD"))
        basic, token = self._basic(place), self._tokens.get(key, "")
        answer = self._answer(request.saying({"Authorization": f"Bearer {token}"} if token else basic))
        challenge = answer.headers.get("WWW-Authenticate", "")
        if answer.status != HTTPStatus.UNAUTHORIZED or not challenge.lower().startswith("bearer "):
            self._keep(key, token)
            return answer
        self._tokens.pop(key, None)
        token = self._token(challenge, basic)
        if not token:
            return answer
        answer.drain_conn()
        self._keep(key, token)
        return self._answer(request.saying({"Authorization": f"Bearer {token}"}))

    def _minted(self, request: _Request, place: Place) -> dict[str, str]:
        """Return the header with a token of our own for just this request; none is none."""
        issuer, other = self._settings.issuer, _other(request.url)
        if issuer is None or issuer.host != place.host:
            return {}
        grants = [Grant(place.repository, _ACTIONS.get(request.method, PUSH)), *([Grant(other)] if other else [])]
        return {"Authorization": f"Bearer {issuer.token(grants, seconds=LIFE)}"}

    def _keep(self, key: _Key, token: str) -> None:
        """Keep a token for requests to come: what lets mount a blob lets go on with the upload that it began."""
        if token:
            host, repository, _, writes = key
            self._tokens[key] = self._tokens[host, repository, "", writes] = token

    def _answer(self, request: _Request) -> urllib3.BaseHTTPResponse:
        host = urllib.parse.urlsplit(request.url).netloc
        try:
            return self._http.request(
                request.method,
                request.url,
                headers=dict(request.headers),
                body=request.body() if callable(request.body) else request.body,
                redirect=False,
                preload_content=not request.stream,
            )
        except urllib3.exceptions.HTTPError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                said = f"{host} shows a certificate that is not trusted: {error}"
                raise Untrusted("registry", said) from error
            raise Unavailable("registry", f"{host} did not answer: {type(error).__name__}") from error

    def _token(self, challenge: str, basic: Mapping[str, str]) -> str:
        """Return the token that a challenge asks for, or "" where we get none."""
        asked = dict(_PARAMETER.findall(challenge))
        realm = asked.get("realm", "")
        if not realm.startswith((self._scheme, "https://")):
            raise Unavailable("registry", "a registry asks for credentials at an address that is not safe")
        query = [("service", asked["service"])] if "service" in asked else []
        query += [("scope", scope) for scope in asked.get("scope", "").split()]
        joined = "&" if "?" in realm else "?"
        answer = self._answer(_Request("GET", f"{realm}{joined}{urllib.parse.urlencode(query)}", basic))
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return ""
        try:
            said = json.loads(answer.data) if answer.status == HTTPStatus.OK else {}
            return learn(str(said.get("token") or said["access_token"]), passing=True)
        except (ValueError, KeyError, AttributeError) as error:
            host = urllib.parse.urlsplit(realm).netloc
            raise Unavailable("registry", f"{host} answered {answer.status} instead of a token") from error

    def _basic(self, place: Place) -> dict[str, str]:
        """Return the header with the credentials that the config holds for a repository; none is none."""
        file = below(self._settings.configs, f"{place.host}/{place.repository}", self._settings.config)
        if file is None:
            return {}
        try:
            auth = _auth(json.loads(file.read_bytes()), place)
        except OSError as error:
            raise _unusable(file, f"cannot be read: {error.strerror}") from None
        except ValueError:  # says what it has read, in part
            raise _unusable(file, "is no JSON, or has an auth that is no base64") from None
        except (AttributeError, TypeError):
            raise _unusable(file, "is not of the form that docker gives it") from None
        except KeyError as missing:
            raise _unusable(file, f"has no {missing.args[0]} for {place.host}") from None
        return {"Authorization": f"Basic {auth}"} if auth else {}


def _auth(config: Mapping[str, Any], place: Place) -> str:
    """Return what a docker config says for a repository: by the longest path that it lies below, or by its host."""
    parts = {name: _parts(name) for name in config.get("auths", {})}
    fitting = [
        name
        for name, (host, path) in parts.items()
        if host == place.host and f"{place.repository}/".startswith(f"{path}/" if path else "")
    ]
    entry = config["auths"][max(fitting, key=lambda name: len(parts[name][1]))] if fitting else {}
    if auth := entry.get("auth"):
        whole = base64.b64decode(auth)
        learn(whole.partition(b":")[2].decode("utf-8", "replace"))
        return learn(base64.b64encode(whole).decode())
    if "username" not in entry:
        return ""
    return learn(base64.b64encode(f"{entry['username']}:{learn(entry['password'])}".encode()).decode())


def _unusable(file: Path, why: str) -> Unavailable:
    return Unavailable("registry", f"the docker config {file} {why}")


DENIED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def denied(answer: urllib3.BaseHTTPResponse, place: Place) -> NotLetIn:
    """Return the error for an answer that says who asks may not."""
    return NotLetIn("registry", f"{place.host} answered {answer.status} for {place.repository}")


def unexpected(answer: urllib3.BaseHTTPResponse, place: Place) -> Unavailable:
    """Return the error for an answer that tells nothing."""
    return Unavailable("registry", f"{place.host} answered {answer.status} for {place.repository}")


def _parts(name: str) -> tuple[str, str]:
    """Return the host and the path of a key in a docker config, which may be the URL of a whole registry."""
    host, _, path = name.partition("://")[2 if "://" in name else 0].partition("/")
    path = path.strip("/")
    return host, "" if path in ("v1", "v2") else path


def _other(url: str) -> str:
    """Return the repository that a request is about beside its own: the one that a blob is mounted from."""
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query).get("from", [""])[0]
