"""The ports that the use cases touch, joined once in `wire.py` (and in the tests, with fakes)."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from knative_lambda.builds import choice
from knative_lambda.builds.bases import Bases
from knative_lambda.builds.choice import Choice
from knative_lambda.builds.ends import Workshop
from knative_lambda.builds.images import references
from knative_lambda.builds.inputs import prepare, repository
from knative_lambda.builds.inputs.archive import Limits
from knative_lambda.builds.inputs.prepare import Inputs, Source
from knative_lambda.builds.inputs.reach import Reach, named
from knative_lambda.builds.inputs.repository import Address
from knative_lambda.builds.inputs.source import Context, Objects
from knative_lambda.builds.jobs import given, handed
from knative_lambda.builds.papers.trust import Trust
from knative_lambda.builds.turns import Turns
from knative_lambda.deploy import allowed, quantities
from knative_lambda.deploy.cluster import NAMESPACE, Cluster
from knative_lambda.deploy.manifests import DeploySettings
from knative_lambda.handler.observe.census import Census
from knative_lambda.handler.observe.spans import Spans
from knative_lambda.handler.once import Once
from knative_lambda.handler.settings import Settings
from knative_lambda.schemas.errors import Fault, ProductError, Refused, Unavailable
from knative_lambda.schemas.names import TENANT_LABEL
from knative_lambda.storage import keys


@dataclass(frozen=True)
class Product:
    """Everything a use case may need beside its event."""

    settings: Settings
    workshop: Workshop
    deploying: DeploySettings
    now: Callable[[], datetime]
    owes: Callable[[str, str], None]
    """Told of a Function (tenant, name) that has notifications to send once the answer is out; must not block."""
    builder: str = "kaniko"
    """What builds here whatever is no layer; anything but Kaniko builds everything. It stands in a Build's spec."""
    once: Once = field(default_factory=Once)
    """Who does now what many threads ask for."""
    turns: Turns = field(default_factory=Turns)
    """Who may hold a large source now."""
    trust: Trust | None = None
    """Who says whether an image may run; None where any may."""
    letters: Callable[[str, str], None] = lambda _namespace, _name: None
    """Told of a DeadLetter (namespace, name) of which something may be wanted; must not block."""
    papers: Callable[[str, str], None] = lambda _tenant, _build: None
    """Told of a Build (tenant, name) whose image lacks papers that nothing waits for; as `owes` is."""
    reach: Reach | None = None
    """Which hosts a ready image, or a repository, may be of; None where nobody is asked for it."""
    bases: Bases = field(default_factory=Bases)
    """What the runtimes' bases are, for the sweep."""
    refs: Callable[[str, str], str] | None = None
    """Who says which commit a repository's revision is now, "" for nobody knows; None where that is left to Builds."""
    census: Census = field(default_factory=Census)
    """What the sweeps of this process have counted."""
    spans: Spans = field(default_factory=Spans)
    """Who makes spans of what is done."""
    lacking: Callable[[Mapping[str, Any], str], list[Fault]] = lambda _spec, _where: []
    """What of a spec is not to be had here, whatever the settings say: on a cluster, nothing."""

    @property
    def cluster(self) -> Cluster:
        """Return the cluster."""
        return self.workshop.cluster

    @property
    def limits(self) -> Limits:
        """Return what a source may hold."""
        return Limits(total=self.settings.context_limit)

    def objects(self, tenant: str, stored: str = "") -> Objects:
        """Return which objects of the store a source of this tenant may name; `stored` is one key more, "" none."""
        prefixes, settings = (keys.uploads(tenant),), self.settings
        return Objects(self.workshop.store, settings.store_of(tenant), prefixes, self.turns, settings.laid, stored)

    def automatic(self, context: Context) -> Choice:
        """Return what ``auto`` comes to for a source's context."""
        return choice.automatic(context.job, context.dependencies, layers=self.settings.layers, pinned=context.pinned)

    def base(self, runtime: str) -> str:
        """Return a runtime's base image by digest, "" where it has none; raise `Unavailable` where it is not there."""
        return prepare.pin(self.settings.bases.get(runtime, ""), self.workshop.registry)

    def with_given(self, inputs: Inputs, tenant: str, spec: Mapping[str, Any]) -> Inputs:
        """Return a spec's inputs with what its build is given now: the installation's index, versions of Secrets.

        One that may not be had has the version "".
        """
        if "image" in spec["source"]:
            return inputs
        index = {} if spec.get("build", {}).get("indexes") else self._index(tenant, spec["runtime"])
        return self.with_versions(replace(inputs, indexes=index), tenant, spec)

    def with_versions(self, inputs: Inputs, tenant: str, spec: Mapping[str, Any]) -> Inputs:
        """Return a spec's inputs with the versions that the Secrets have now which its build is given."""
        whole = {"build": given.of(spec, inputs.indexes), **{key: spec[key] for key in spec if key != "build"}}
        return replace(inputs, secrets=handed.versions(whole, tenant, self.cluster))

    def _index(self, tenant: str, runtime: str) -> dict[str, Any]:
        """Return the package index of a tenant, or the one of all."""
        settings = self.settings
        for indexes in (settings.build_tenant_indexes.get(tenant, {}), settings.build_indexes):
            if runtime in indexes:
                return dict(indexes[runtime])
        return {}

    def believed(self, tenant: str, spec: Mapping[str, Any], recorded: Inputs | None) -> Inputs | None:
        """Return what a Function's record says of its inputs, unless it says what only this product may decide.

        Who may write Functions writes their annotations too: a base that is none of the installation's, or an image of
        another tenant, would be read with the product's own credentials. Then the record is made anew.
        """
        if recorded is None or self._is_foreign(tenant, spec["source"].get("image", "")) or self._unfit(spec, "/spec"):
            return None
        bases = {references.repository(base) for base in self._bases}
        return recorded if not recorded.base or references.repository(recorded.base) in bases else None

    def _unreached(self, tenant: str, image: str) -> str:
        """Return why a ready image is not taken, "" where it is: Knative asks its host, from inside the cluster."""
        host = references.whole(image).partition("/")[0]
        if self.reach is None or any(own.startswith(f"{host}/") for own in self._places(tenant)):
            return ""
        if self.settings.image_hosts and not named(host, self.settings.image_hosts):
            return f"no images are taken from {host}"
        return self.reach.refusal(host)

    def _unreached_indexes(self, spec: Mapping[str, Any], where: str) -> list[Fault]:
        """Return why package indexes are not taken: a build's Pod asks their hosts, from inside the cluster."""
        hosts = [urlsplit(url).netloc for url in given.urls(spec.get("build", {}))]
        refusals = [self.reach.refusal(host) for host in hosts] if self.reach is not None else []
        return [Fault(where, why) for why in refusals if why]

    def _unfit(self, spec: Mapping[str, Any], where: str) -> list[Fault]:
        """Return what of its Pod no function may ask for here, also where its source has been taken before."""
        reserved = {self.settings.registry_pull_secret, *self.settings.reserved_secrets}
        faults = [*allowed.faults(spec, where, self.deploying, reserved)]
        faults += [
            Fault(f"{where}/build/secrets", f"{name} {allowed.RESERVED}")
            for name in handed.asked(spec)
            if name in reserved
        ]
        if spec["source"].get("git", {}).get("secret") in reserved:
            faults.append(Fault(f"{where}/source/git/secret", f"{spec['source']['git']['secret']} {allowed.RESERVED}"))
        asked, built = spec.get("architecture", ""), self.settings.platform.rpartition("/")[2]
        if asked not in ("", built) and "image" not in spec["source"] and spec.get("builder") != "external":
            faults.append(Fault(f"{where}/architecture", f"images are built for {built} here"))
        return faults

    def source_of(self, git: Mapping[str, Any], cause: str) -> Source:
        """Return what is known of a repository before it is cloned: its commit, where anybody may ask for it.

        What its server says, if it says anything, is one bounded request's answer; what is wrong the Build tells.
        """
        commit = repository.written_out(git)
        if not commit and self.refs is not None and not git.get("secret") and git["url"].lower().startswith("http"):
            commit = self.refs(git["url"], git.get("revision", ""))
        return Source(repository.context(git, commit, cause), Choice("kaniko", repository.CLONED), commit)

    def _unclonable(self, spec: Mapping[str, Any], where: str) -> Iterator[Fault]:
        """Yield why a repository is not taken, as far as that is known before it is cloned."""
        git, settings = spec["source"]["git"], self.settings
        address = Address.of(git["url"])
        if spec.get("builder") == "external":
            return
        if self.builder != "kaniko" or not settings.git_image:
            yield Fault(where, "this installation clones no repositories")
            return
        if address.scheme == "http" and not settings.git_insecure:
            yield Fault(f"{where}/url", "plain http is not taken: https, or ssh")
        if git.get("secret") and not settings.build_secrets:
            yield Fault(f"{where}/secret", "this installation gives builds no Secrets")
        if settings.git_hosts and not named(address.host, settings.git_hosts):
            yield Fault(f"{where}/url", f"no repositories are taken from {address.host}")
        elif self.reach is not None and (why := self.reach.refusal(address.place)):
            yield Fault(f"{where}/url", why)

    def _is_foreign(self, tenant: str, image: str) -> bool:
        """Say whether an image lies in a registry of the product, and not below this tenant nor where all may read.

        Whose the place is does not matter: a tenant's images outlast it, and nobody learns which tenants there are.
        """
        settings, place = self.settings, references.repository(image)
        if not image or not place.startswith(tuple(references.whole(f"{each}/") for each in settings.registries)):
            return False
        shared = {references.repository(each) for each in (*self._bases, *settings.registry_reads)}
        return not place.startswith(self._places(tenant)) and place not in shared

    def _places(self, tenant: str) -> tuple[str, ...]:
        """Return below what a tenant's images lie: where they are pushed now, and in the registry that is shared."""
        prefixes = (self.settings.registry, self.settings.registry_of(tenant))
        return tuple(references.whole(f"{prefix}/{tenant}/") for prefix in prefixes)

    @property
    def _bases(self) -> list[str]:
        """Return the installation's bases, as it names them."""
        return [base for base in self.settings.bases.values() if base]

    def is_tenant(self, name: str) -> bool:
        """Say whether a namespace is a tenant's."""
        found = self.cluster.get(NAMESPACE, "", name)
        return found is not None and found["metadata"].get("labels", {}).get(TENANT_LABEL) == "true"

    def is_theirs(self, error: ProductError, tenant: str) -> bool:
        """Say whether an error is the outage of a tenant's own store or registry, which concerns nobody else."""
        own = {"store": self.settings.tenant_stores, "registry": self.settings.tenant_registries}
        return isinstance(error, Unavailable) and tenant in own.get(error.dependency, ())

    def require_runnable(self, tenant: str, spec: Mapping[str, Any], where: str) -> None:
        """Raise `Refused` for what no Pod can have, what is not built here, and a ready image of others."""
        if lacking := self.lacking(spec, where):
            raise Refused(lacking)  # these alone: whatever else is wrong with them would be wrong elsewhere
        faults = quantities.faults(spec.get("resources", {}), f"{where}/resources")
        image = spec["source"].get("image", "")
        if self._is_foreign(tenant, image):
            faults.append(Fault(f"{where}/source/image", f"of this registry {tenant} has what lies below {tenant}/"))
        if image and (why := self._unreached(tenant, image)):
            faults.append(Fault(f"{where}/source/image", why))
        faults += self._unfit(spec, where)
        builds = not image and self.builder == "kaniko" and spec.get("builder") != "external"
        if builds and self.settings.bases.get(spec["runtime"]) == "":
            faults.append(
                Fault(f"{where}/runtime", f"this installation builds no functions of runtime {spec['runtime']}")
            )
        if "git" in spec["source"]:
            faults += self._unclonable(spec, f"{where}/source/git")
        if handed.asked(spec) and not self.settings.build_secrets:
            faults.append(Fault(f"{where}/build/secrets", "this installation gives builds no Secrets"))
        faults += self._unreached_indexes(spec, f"{where}/build/indexes")
        if faults:
            raise Refused(faults)

    def require_tenant(self, name: str) -> None:
        """Raise `Refused` where there is no such tenant."""
        if not self.is_tenant(name):
            raise Refused.because("/data/tenant", f"there is no tenant {name}")
