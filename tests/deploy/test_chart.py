"""What the chart installs, as Helm renders it."""

from collections import Counter
from typing import Any

import pytest
from support.chart import CHART, PRODUCT, REQUIRED, refusal, render, run_helm

from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.embedded.policy import Policy
from knative_lambda.handler import settings
from knative_lambda.handler.local import dev
from knative_lambda.handler.receive.server import ServerSettings
from knative_lambda.schemas import names
from knative_lambda.schemas.types import SOURCES, TYPES

VALUES = {
    "default": {},
    "dev": {"files": ("values-dev.yaml",)},
    "two tenants": {"tenants": ["demo", "acme"], "receiver": {"legacyTenant": "acme"}},
    "no tenant": {"tenants": [], "receiver": {"access": {"events": ["oidc"]}}},
    "everything": {
        "tenants": ["demo"],
        "imagePullSecrets": ["pull"],
        "registry": {"prefix": "r.test:5000/fn", "insecure": True, "secret": "push"},
        "eventing": {"brokerConfig": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "kafka", "name": "broker"}},
        "receiver": {
            "serviceAccountAnnotations": {"cloud.test/role": "lambda"},
            "api": True,
            "access": {"events": ["oidc", "token", "hmac"], "keysSecret": "senders"},
        },
    },
}


@pytest.fixture(params=VALUES)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return render(**VALUES[request.param])


def of(objects: list[Object], kind: str, namespace: str | None = None) -> list[Object]:
    """Return the objects of a kind, of one namespace or of all."""
    found = [item for item in objects if item["kind"] == kind]
    return [item for item in found if namespace is None or item["metadata"].get("namespace") == namespace]


def one(objects: list[Object], kind: str, name: str, namespace: str = PRODUCT) -> Object:
    (found,) = [item for item in of(objects, kind, namespace) if item["metadata"]["name"] == name]
    return found


def container(service: Object) -> Any:
    (found,) = service["spec"]["template"]["spec"]["containers"]
    return found


def environment(service: Object) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container(service)["env"]}


def granted(objects: list[Object], account: str, namespace: str) -> dict[str, set[str]]:
    """Return what an account of the product may do in a namespace: resource to verbs."""
    verbs: dict[str, set[str]] = {}
    for binding in of(objects, "RoleBinding", namespace):
        (subject,) = binding["subjects"]
        if (subject["name"], subject["namespace"]) == (account, PRODUCT):
            for rule in one(objects, "Role", binding["roleRef"]["name"], namespace)["rules"]:
                for resource in rule["resources"]:
                    verbs.setdefault(resource, set()).update(rule["verbs"])
    return verbs


def test_the_chart_passes_lint_without_a_warning() -> None:
    done = run_helm("lint", "--strict", str(CHART), values=REQUIRED)
    assert done.returncode == 0, done.stdout


def test_no_object_is_there_twice_and_each_says_where_it_belongs(objects: list[Object]) -> None:
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
    assert not [name for name, count in Counter(names).items() if count > 1]
    assert {item["kind"] for item in objects if "namespace" not in item["metadata"]} <= {
        "Namespace",
        "CustomResourceDefinition",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ClusterRoleBinding",
    }


def test_every_container_has_requests_and_limits_and_is_restricted(objects: list[Object]) -> None:
    services = of(objects, "Service")
    assert {item["metadata"]["name"] for item in services} == {"receiver", "deadletters"}
    for service in services:
        resources, context = container(service)["resources"], container(service)["securityContext"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert "memory" in resources["limits"]
        assert context["runAsNonRoot"] is True
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def test_nobody_gets_rights_on_the_whole_cluster_on_everything_or_on_secrets(objects: list[Object]) -> None:
    """Asking who somebody is, which `test_chart_access.py` is about, is no right to anything."""
    assert not of(objects, "ClusterRole")
    assert {binding["roleRef"]["name"] for binding in of(objects, "ClusterRoleBinding")} <= {"system:auth-delegator"}
    for role in of(objects, "Role"):
        for rule in role["rules"]:
            assert "*" not in {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
            assert "secrets" not in rule["resources"] or rule["verbs"] == ["create", "delete"], "nobody reads one"


def pushing(**registry: Any) -> tuple[str, Object, list[Object]]:
    """Return what builds push with, the Service of the receiver, and all objects."""
    objects = render(tenants=["demo"], registry={"prefix": "r.test", **registry})
    service = one(objects, "Service", "receiver")
    return settings.read(environment(service)).registry_secret, service, objects


def test_builds_push_with_a_token_each_or_their_tenants_secret_or_the_one_that_all_share() -> None:
    everything = {"tokens": {"secret": "key"}, "tenantSecret": "own", "secret": "all"}
    for registry, wanted in (
        (everything, ""),
        ({key: everything[key] for key in ("tenantSecret", "secret")}, "own"),
        ({"secret": "all"}, "all"),
        ({}, ""),
    ):
        pushed_with, _, objects = pushing(**registry)
        assert pushed_with == wanted
        pulled = one(objects, "ServiceAccount", "builder", "demo-builds").get("imagePullSecrets", [])
        assert [each["name"] for each in pulled] == ([wanted] if wanted else [])


def test_the_right_to_hand_a_token_over_is_given_where_tokens_are_and_in_builds_namespaces_alone() -> None:
    _, service, objects = pushing(tokens={"secret": "key", "service": "s", "reads": ["r.test/a", "r.test/b/c"]})
    for namespace in (PRODUCT, "demo"):
        assert "secrets" not in granted(objects, "receiver", namespace)
    assert granted(objects, "receiver", "demo-builds")["secrets"] == {"create", "delete"}
    assert "secrets" not in granted(pushing(secret="all")[2], "receiver", "demo-builds")
    given = settings.read(environment(service))
    assert (given.registry_tokens_service, given.registry_reads) == ("s", ("r.test/a", "r.test/b/c"))
    volumes = {each["name"]: each for each in service["spec"]["template"]["spec"]["volumes"]}
    assert volumes["registry-tokens"]["secret"]["secretName"] == "key"
    mounts = {each["name"]: each["mountPath"] for each in container(service)["volumeMounts"]}
    assert mounts["registry-tokens"] == given.registry_tokens


def test_no_secret_is_rendered_and_none_comes_through_the_environment(objects: list[Object]) -> None:
    """Credentials are files of Secrets that the chart only names."""
    assert not of(objects, "Secret")
    for service in of(objects, "Service"):
        assert all(entry.keys() == {"name", "value"} for entry in container(service)["env"])
        assert "envFrom" not in container(service)


def test_the_receiver_can_read_every_setting_that_the_chart_gives_it(objects: list[Object]) -> None:
    given = environment(one(objects, "Service", "receiver"))
    known = {settings.PREFIX + name.upper() for name in settings.Settings.__dataclass_fields__}
    assert given.keys() <= known
    read = settings.read(given)
    assert read.threads == one(objects, "Service", "receiver")["spec"]["template"]["spec"]["containerConcurrency"]
    assert read.build_resources["limits"]["memory"] == "2Gi"
    assert read.dead_letter_url == f"http://deadletters.{PRODUCT}.svc.cluster.local"


def test_the_services_are_reached_from_inside_only_and_scale_to_zero(objects: list[Object]) -> None:
    for service in of(objects, "Service"):
        assert service["metadata"]["labels"]["networking.knative.dev/visibility"] == "cluster-local"
        annotations = service["spec"]["template"]["metadata"]["annotations"]
        assert annotations["autoscaling.knative.dev/min-scale"] == "0"
        assert annotations["autoscaling.knative.dev/target-burst-capacity"] == "-1"


def test_each_received_type_has_one_trigger_on_the_broker_that_it_comes_through(objects: list[Object]) -> None:
    reports = {source.type for source in SOURCES}
    wanted = {(name, "cluster" if name in reports else "default") for name, known in TYPES.items() if known.received}
    triggers = of(objects, "Trigger")
    assert {(item["spec"]["filter"]["attributes"]["type"], item["spec"]["broker"]) for item in triggers} == wanted
    assert len(triggers) == len(wanted)
    for trigger in triggers:
        assert trigger["spec"]["subscriber"]["ref"]["name"] == "receiver"
        assert trigger["spec"]["subscriber"]["uri"] == "/events"


def test_brokers_answer_before_their_subscribers_do_and_keep_what_nobody_could_handle(objects: list[Object]) -> None:
    """The annotation is read when a Broker is made and never again, so the chart has to have it from the first."""
    brokers = of(objects, "Broker")
    assert {"default", "cluster"} == {item["metadata"]["name"] for item in of(brokers, "Broker", PRODUCT)}
    for broker in brokers:
        assert broker["metadata"]["annotations"]["messaging.knative.dev/async-handler"] == "true"
        delivery, namespace = broker["spec"]["delivery"], broker["metadata"]["namespace"]
        assert delivery["deadLetterSink"]["uri"] == f"http://deadletters.{PRODUCT}.svc.cluster.local/{namespace}"
        assert delivery["retry"] == (10 if namespace == PRODUCT else 5)
        assert (delivery["backoffPolicy"], delivery["backoffDelay"], delivery["timeout"]) == (
            "exponential",
            "PT1S",
            "PT30S",
        )


def test_a_source_selects_exactly_the_namespaces_where_its_account_may_read_what_it_reports() -> None:
    """A selected namespace without its RoleBinding stops the reports of all; Helm writes custom resources last."""
    objects = render(tenants=["demo", "acme"])
    selected: dict[str, set[str]] = {}
    for source in of(objects, "ApiServerSource", PRODUCT):
        assert source["spec"]["mode"] == "Reference"
        (expression,) = source["spec"]["namespaceSelector"]["matchExpressions"]
        assert (expression["key"], expression["operator"]) == ("kubernetes.io/metadata.name", "In")
        assert source["spec"]["serviceAccountName"] == "sources"
        for namespace in expression["values"]:
            reported = {f"{resource['kind'].lower()}s" for resource in source["spec"]["resources"]}
            selected[namespace] = selected.get(namespace, set()) | reported
    assert selected.keys() == {PRODUCT, "demo", "demo-builds", "acme", "acme-builds"}
    for namespace, reported in selected.items():
        assert granted(objects, "sources", namespace) == {kind: {"get", "list", "watch"} for kind in reported}


def test_of_dead_letters_those_alone_are_reported_of_which_something_is_wanted() -> None:
    """The product's own namespace is among them, with or without tenants."""
    for tenants in ([], ["demo"]):
        source = one(render(tenants=tenants), "ApiServerSource", "letters")
        assert source["spec"]["namespaceSelector"]["matchExpressions"][0]["values"] == [PRODUCT, *tenants]
        assert [resource["selector"] for resource in source["spec"]["resources"]] == [
            {"matchLabels": {names.RESEND_LABEL: "true"}},
            {"matchExpressions": [{"key": names.OWES_LABEL, "operator": "Exists"}]},
        ]


def test_without_tenants_nothing_of_theirs_is_reported() -> None:
    """An empty selector would select every namespace of the cluster."""
    assert [source["metadata"]["name"] for source in of(render(tenants=[]), "ApiServerSource")] == ["letters"]


def test_events_for_the_product_are_delivered_again_for_about_a_quarter_of_an_hour(objects: list[Object]) -> None:
    """Both Brokers say so, no Trigger says otherwise, and the embedded mode does the same."""
    for broker in of(objects, "Broker", PRODUCT):
        delivery = {key: value for key, value in broker["spec"]["delivery"].items() if key != "deadLetterSink"}
        policy = Policy.of({"spec": {}}, broker)
        pauses = sum(policy.pause(attempt) for attempt in range(policy.retry))
        assert 14 * 60 < pauses < 18 * 60
        assert delivery == dev.DELIVERY
    assert all("delivery" not in trigger["spec"] for trigger in of(objects, "Trigger", PRODUCT))


def test_the_dead_letter_service_may_only_write_dead_letters() -> None:
    objects = render(tenants=["demo", "acme"])
    for namespace in (PRODUCT, "demo", "acme"):
        assert granted(objects, "deadletters", namespace) == {"deadletters": {"get", "create", "update"}}
    assert not granted(objects, "deadletters", "demo-builds")


def test_the_receiver_holds_slots_and_sends_letters_again_in_its_own_namespace_and_makes_no_pods() -> None:
    objects = render(tenants=["demo"])
    letters = {"deadletters": {"get", "list", "update", "delete"}}
    assert granted(objects, "receiver", PRODUCT) == {"leases": {"get", "list", "create", "delete"}, **letters}
    assert letters.items() <= granted(objects, "receiver", "demo").items()
    assert "deadletters" not in granted(objects, "receiver", "demo-builds")
    assert "pods" not in granted(objects, "receiver", "demo")
    assert granted(objects, "receiver", "demo-builds")["pods"] == {"get", "list"}


def test_the_receiver_may_list_what_may_run_an_image_before_it_removes_one() -> None:
    rights = granted(render(tenants=["demo"]), "receiver", "demo")
    assert rights["revisions"] == {"get", "list"}
    assert "list" in rights["services"]


def test_the_receiver_may_delete_the_builds_that_have_had_their_time_and_not_change_what_they_are() -> None:
    rights = granted(render(tenants=["demo"]), "receiver", "demo")
    assert rights["builds"] == {"get", "list", "create", "delete"}
    assert rights["builds/status"] == {"update"}


def test_a_tenant_is_a_restricted_namespace_and_one_for_its_builds_with_a_quota(objects: list[Object]) -> None:
    tenants = {
        item["metadata"]["name"]: item["metadata"]["labels"]
        for item in of(objects, "Namespace")
        if item["metadata"]["labels"].get("knative-lambda.dev/tenant") == "true"
    }
    for tenant, labels in tenants.items():
        assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
        builds = f"{tenant}-builds"
        (namespace,) = [item for item in of(objects, "Namespace") if item["metadata"]["name"] == builds]
        assert namespace["metadata"]["labels"]["knative-lambda.dev/builds-of"] == tenant
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "baseline"
        assert of(objects, "ResourceQuota", builds)
        assert of(objects, "LimitRange", builds)
        assert one(objects, "ServiceAccount", "builder", builds)["automountServiceAccountToken"] is False


def test_an_uninstall_leaves_peoples_functions_unless_the_values_say_otherwise() -> None:
    """Kept is what a function needs to go on, its definition, namespace and Broker; and what bounds it and builds."""

    def kept(objects: list[Object]) -> set[tuple[str, str]]:
        return {
            (item["kind"], item["metadata"]["name"])
            for item in objects
            if (item["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") == "keep"
        }

    definitions = {
        ("CustomResourceDefinition", f"{plural}.knative-lambda.dev")
        for plural in ("functions", "builds", "deadletters")
    }
    tenants = {
        ("Namespace", "demo"),
        ("Namespace", "demo-builds"),
        ("Broker", "default"),
        ("NetworkPolicy", "nothing"),
        *(
            (kind, name)
            for kind in ("NetworkPolicy", "ResourceQuota", "LimitRange")
            for name in ("functions", "builds")
        ),
    }
    assert kept(render()) == definitions | tenants
    assert kept(render(keepTenants=False)) == definitions


def test_a_pod_has_more_time_to_end_than_it_takes(objects: list[Object]) -> None:
    """The grace period of a revision's pods is its `timeoutSeconds`."""
    for service in of(objects, "Service"):
        given = settings.read(environment(service))
        server = ServerSettings(graceful_timeout=given.drain_seconds)
        end = server.graceful_timeout + server.farewell
        assert end < 30 < service["spec"]["template"]["spec"]["timeoutSeconds"]


@pytest.mark.parametrize(
    ("values", "pulls"),
    [
        ({}, []),
        ({"imagePullSecrets": ["pull"]}, ["pull"]),
        ({"imagePullSecrets": ["pull"], "registry": {"prefix": "r.test", "secret": "push"}}, ["pull", "push"]),
        ({"imagePullSecrets": ["push"], "registry": {"prefix": "r.test", "secret": "push"}}, ["push"]),
    ],
)
def test_builds_are_pulled_from_a_private_registry(values: dict[str, Any], pulls: list[str]) -> None:
    """Their Pods run the product's own image and the executor's."""
    builder = one(render(tenants=["demo"], **values), "ServiceAccount", "builder", "demo-builds")
    assert [secret["name"] for secret in builder.get("imagePullSecrets", [])] == pulls


def test_the_receiver_learns_what_functions_are_pulled_with_and_it_is_not_what_builds_push_with() -> None:
    registry = {"prefix": "r.test", "secret": "push", "pullSecret": "pull"}
    given = settings.read(environment(one(render(registry=registry), "Service", "receiver")))
    assert (given.registry_secret, given.registry_pull_secret) == ("push", "pull")


def test_the_store_key_is_mounted_only_where_there_is_one() -> None:
    """A pod with a cloud identity has no Secret to mount."""
    with_key = one(render(), "Service", "receiver")
    assert environment(with_key)["KNATIVE_LAMBDA_STORE_CREDENTIALS"] in {
        mount["mountPath"] for mount in container(with_key)["volumeMounts"]
    }
    without = one(render(store={"credentialsSecret": ""}), "Service", "receiver")
    assert "KNATIVE_LAMBDA_STORE_CREDENTIALS" not in environment(without)
    assert [volume["name"] for volume in without["spec"]["template"]["spec"]["volumes"]] == ["tmp"]


def test_a_tenants_own_store_is_told_with_its_secrets_and_one_that_is_missing_stops_no_pod() -> None:
    own = {"kind": "custom", "url": "s3://acme-own", "credentialsSecret": "acme-store", "caSecret": "acme-ca"}
    values = {"tenants": ["acme", "other"], "tenantStores": {"acme": own, "other": {"kind": "shared", "url": "s3://x"}}}
    service = one(render(**values), "Service", "receiver")
    given = settings.read(environment(service))
    [place] = [each["mountPath"] for each in container(service)["volumeMounts"] if each["name"] == "store-acme"]
    told = {"url": "s3://acme-own", "caSecret": "acme-ca", "credentials": place, "tls": place}
    assert given.tenant_stores == {"acme": told}
    [volume] = [each for each in service["spec"]["template"]["spec"]["volumes"] if each["name"] == "store-acme"]
    sources = [each["secret"] for each in volume["projected"]["sources"]]
    assert [(each["name"], each["optional"]) for each in sources] == [("acme-store", True), ("acme-ca", True)]
    assert [item["path"] for each in sources for item in each["items"]] == ["access-key", "secret-key", "ca.crt"]


def test_a_tenants_own_registry_is_told_with_the_secret_that_receiver_and_builds_push_with() -> None:
    own = {"kind": "custom", "prefix": "acme.test/lambda", "secret": "acme-push"}
    values = {"tenants": ["acme", "other"], "tenantRegistries": {"acme": own, "other": {"kind": "shared"}}}
    objects = render(**values)
    service = one(objects, "Service", "receiver")
    given = settings.read(environment(service))
    [place] = [each["mountPath"] for each in container(service)["volumeMounts"] if each["name"] == "push-acme"]
    told = {"prefix": "acme.test/lambda", "secret": "acme-push", "config": f"{place}/config.json"}
    assert given.tenant_registries == {"acme": told}
    [volume] = [each for each in service["spec"]["template"]["spec"]["volumes"] if each["name"] == "push-acme"]
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("acme-push", True)
    builders = [one(objects, "ServiceAccount", "builder", f"{tenant}-builds") for tenant in ("acme", "other")]
    assert [each.get("imagePullSecrets") for each in builders] == [[{"name": "acme-push"}], None]


@pytest.mark.parametrize(
    ("store", "why"),
    [
        ({"kind": "custom", "url": "s3://x"}, '"nobody" is not among the tenants'),
        ({"kind": "custom"}, "url"),
        ({"kind": "theirs", "url": "s3://x"}, "kind"),
        # pragma: allowlist nextline secret
        ({"kind": "custom", "url": "s3://key:secret@x"}, "url"),
    ],
)
def test_a_store_of_nobody_or_half_a_one_is_refused(store: dict[str, str], why: str) -> None:
    tenant = "nobody" if "nobody" in why else "acme"
    refused = refusal(**REQUIRED | {"tenants": ["acme"], "tenantStores": {tenant: store}})
    assert why in refused


def test_the_custom_resources_can_be_left_to_somebody_else() -> None:
    assert not of(render(crds={"enabled": False}), "CustomResourceDefinition")


def test_builds_are_told_whom_to_believe_the_registry_is_and_what_to_show_it() -> None:
    registry = {"prefix": "r.test", "caSecret": "ca", "buildsClientSecret": "theirs"}
    given = settings.read(environment(one(render(registry=registry), "Service", "receiver")))
    assert (given.registry_ca_secret, given.registry_client_secret) == ("ca", "theirs")
    bare = settings.read(environment(one(render(), "Service", "receiver")))
    assert (bare.registry_ca_secret, bare.registry_client_secret) == ("", "")


def test_whom_else_it_trusts_and_how_it_says_who_it_is_is_mounted_and_told() -> None:
    values = {
        "store": {"caSecret": "store-ca", "clientSecret": "store-me"},
        "registry": {"prefix": "r.test", "caSecret": "registry-ca", "clientSecret": "registry-me"},
        "eventing": {"caSecret": "broker-ca", "clientSecret": "broker-me"},
        "audit": {"sink": "https://log.test/", "credentialsSecret": "log", "caSecret": "", "clientSecret": "log-me"},
    }
    service = one(render(**values), "Service", "receiver")
    given = settings.read(environment(service))
    mounted = {mount["name"]: mount["mountPath"] for mount in container(service)["volumeMounts"]}
    told = (given.store_tls, given.registry_tls, given.broker_tls, given.audit_tls, given.audit_credentials)
    assert told == tuple(mounted[name] for name in ("store-tls", "registry-tls", "broker-tls", "audit-tls", "audit"))
    assert (given.store_ca_secret, given.audit_sink) == ("store-ca", "https://log.test/")
    volumes = {each["name"]: each for each in service["spec"]["template"]["spec"]["volumes"]}
    secrets = {
        name: [(each["secret"]["name"], [item["key"] for item in each["secret"]["items"]]) for each in sources]
        for name in ("store-tls", "registry-tls", "broker-tls", "audit-tls")
        for sources in [volumes[name]["projected"]["sources"]]
    }
    key = ["tls.crt", "tls.key"]
    assert secrets == {
        "store-tls": [("store-ca", ["ca.crt"]), ("store-me", key)],
        "registry-tls": [("registry-ca", ["ca.crt"]), ("registry-me", key)],
        "broker-tls": [("broker-ca", ["ca.crt"]), ("broker-me", key)],
        "audit-tls": [("log-me", key)],
    }
    bare = settings.read(environment(one(render(), "Service", "receiver")))
    assert not any(
        (bare.store_tls, bare.registry_tls, bare.broker_tls, bare.audit_tls, bare.store_ca_secret, bare.audit_sink)
    )


def test_who_else_is_told_is_told_to_the_receiver_and_its_secrets_are_mounted() -> None:
    hooked = {"ci": {"url": "https://ci.test/", "tenants": ["demo"], "events": "cdevents"}}
    values = {"cdevents": True, "webhooks": hooked, "keysSecret": "keys", "caSecret": "ca", "giveUpSeconds": 600}
    service = one(render(notifications=values), "Service", "receiver")
    given = settings.read(environment(service))
    mounted = {mount["name"]: mount["mountPath"] for mount in container(service)["volumeMounts"]}
    assert (given.cdevents, given.webhooks, given.webhook_age) == (True, hooked, 600)
    assert (given.webhook_keys, given.webhook_tls) == (mounted["webhooks"], mounted["notifications-tls"])
    volumes = {each["name"]: each for each in service["spec"]["template"]["spec"]["volumes"]}
    assert volumes["webhooks"]["secret"]["secretName"] == "keys"
    bare = settings.read(environment(one(render(), "Service", "receiver")))
    assert (bare.cdevents, bare.webhooks, bare.webhook_keys, bare.webhook_tls) == (False, {}, "", "")


def test_the_receiver_lets_in_what_the_values_say_and_by_default_what_the_settings_do() -> None:
    def rates(**receiver: Any) -> Any:
        return settings.read(environment(one(render(receiver=receiver), "Service", "receiver"))).rates

    assert rates() == settings.Settings().rates
    rate = {"perSecond": 0.5, "burst": 3}
    found = rates(rates={"tenant": rate, "all": None})
    assert (found["tenant"], found.get("all")) == (rate, None)


def test_the_keys_that_images_are_signed_with_are_mounted_where_the_receiver_looks_for_them() -> None:
    service = one(render(supply={"sign": True, "verify": "all", "keysSecret": "keys"}), "Service", "receiver")
    given = settings.read(environment(service))
    [mounted] = [mount for mount in container(service)["volumeMounts"] if mount["name"] == "supply"]
    assert (given.supply_keys, given.supply_sign, given.supply_verify) == (mounted["mountPath"], True, "all")
    [volume] = [each for each in service["spec"]["template"]["spec"]["volumes"] if each["name"] == "supply"]
    assert volume["secret"]["secretName"] == "keys"
    bare = settings.read(environment(one(render(), "Service", "receiver")))
    assert (bare.supply_documents, bare.supply_keys, bare.supply_sign, bare.supply_verify) == (True, "", False, "none")


def test_layers_can_be_turned_off_and_their_platform_be_named() -> None:
    given = settings.read(
        environment(one(render(builds={"layers": False, "platform": "linux/arm64"}), "Service", "receiver"))
    )
    assert (given.layers, given.platform) == (False, "linux/arm64")
    assert settings.read(environment(one(render(), "Service", "receiver"))).layers


def test_what_builds_and_functions_begin_with_is_kept_on_every_node() -> None:
    """A Pod that a function or a build waits for pulls at most what is its own."""
    objects = render(registry={"prefix": "r.test", "secret": "push"}, imagePullSecrets=["pull"])
    pod = one(objects, "DaemonSet", "warm-images")["spec"]["template"]["spec"]
    kept = {each["image"] for each in pod["initContainers"] + pod["containers"]}
    known = environment(one(objects, "Service", "receiver"))
    images = ("PYTHON_BASE", "NODE_BASE", "GO_BASE", "KANIKO_IMAGE", "FETCH_IMAGE")
    assert kept == {known[f"KNATIVE_LAMBDA_{name}"] for name in images}
    assert [each["name"] for each in pod["imagePullSecrets"]] == ["pull", "push"]
    assert pod["automountServiceAccountToken"] is False
    assert not of(render(warmNodes=False), "DaemonSet")


def test_a_runtime_that_is_not_there_is_not_kept() -> None:
    without = {**REQUIRED["runtimes"], "go": ""}
    pod = one(render(runtimes=without), "DaemonSet", "warm-images")["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["initContainers"]] == ["kaniko", "python", "node"]


def test_every_admission_policy_is_bound_refuses_and_asks_the_product_itself_nothing() -> None:
    objects = render(tenants=["demo"], admission={"trusted": {"users": ["ops"]}})
    policies = {item["metadata"]["name"]: item["spec"] for item in of(objects, "ValidatingAdmissionPolicy")}
    bindings = {item["spec"]["policyName"]: item["spec"] for item in of(objects, "ValidatingAdmissionPolicyBinding")}
    assert policies.keys() == bindings.keys()
    assert all(binding["validationActions"] == ["Deny"] for binding in bindings.values())
    assert all(binding["matchResources"]["namespaceSelector"] for binding in bindings.values())
    for name in policies.keys() - {"tokens.knative-lambda.dev"}:
        asked = " ".join(condition["expression"] for condition in policies[name]["matchConditions"])
        assert f'["system:serviceaccount:{PRODUCT}:receiver","ops"]' in asked
        assert "system:masters" in asked
    assert not of(render(admission={"enabled": False}), "ValidatingAdmissionPolicy")


def test_the_secret_that_functions_are_pulled_with_is_nobody_elses() -> None:
    """The receiver refuses it, too: it is what an event goes through."""
    values = {
        "registry": {"prefix": "r.test", "pullSecret": "pull"},
        "admission": {"reservedSecrets": ["licence"]},
    }
    objects = render(**values)
    assert settings.read(environment(one(objects, "Service", "receiver"))).reserved_secrets == ("licence", "pull")
    [policy] = [
        item
        for item in of(objects, "ValidatingAdmissionPolicy")
        if item["metadata"]["name"] == "functions.knative-lambda.dev"
    ]
    fields = {each["message"].partition(" ")[0].removeprefix("spec.") for each in policy["spec"]["validations"]}
    assert fields == {"secrets", "pullSecrets", "envFrom", "mounts", "build.secrets", "source.git.secret"}
    assert all('["licence","pull"]' in each["expression"] for each in policy["spec"]["validations"])


def test_the_receiver_learns_what_it_may_reach_where_others_say_so() -> None:
    reach = {"allowed": ["*.inside.test", "10.9.0.0/16"], "blocked": ["9.0.0.0/8"], "imageHosts": ["images.test"]}
    given = settings.read(environment(one(render(reach=reach), "Service", "receiver")))
    assert (list(given.reach_allowed), list(given.reach_blocked)) == (reach["allowed"], reach["blocked"])
    assert given.image_hosts == ("images.test",)
    assert "r.test" in given.reach.own


def test_what_all_may_read_of_the_registry_is_known_whatever_builds_push_with() -> None:
    registry = {"prefix": "r.test/fn", "tokens": {"reads": ["r.test/shared/tool"]}}
    given = settings.read(environment(one(render(registry=registry), "Service", "receiver")))
    assert (given.registry_reads, given.registry_tokens) == (("r.test/shared/tool",), "")
