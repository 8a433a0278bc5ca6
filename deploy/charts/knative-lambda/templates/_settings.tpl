{{/* The receiver's environment, as handler/settings.py reads it. Never a secret: those are files. */}}
{{- define "settings" -}}
KNATIVE_LAMBDA_THREADS: {{ .Values.receiver.threads }}
KNATIVE_LAMBDA_DRAIN_SECONDS: {{ .Values.receiver.drainSeconds }}
KNATIVE_LAMBDA_RATES: {{ .Values.receiver.rates | toJson | quote }}
KNATIVE_LAMBDA_AUDIT_SINK: {{ .Values.audit.sink | quote }}
{{- if .Values.audit.credentialsSecret }}
KNATIVE_LAMBDA_AUDIT_CREDENTIALS: /var/run/secrets/knative-lambda/audit
{{- end }}
{{- if or .Values.audit.caSecret .Values.audit.clientSecret }}
KNATIVE_LAMBDA_AUDIT_TLS: /var/run/secrets/knative-lambda/audit-tls
{{- end }}
KNATIVE_LAMBDA_CDEVENTS: {{ .Values.notifications.cdevents }}
KNATIVE_LAMBDA_WEBHOOKS: {{ .Values.notifications.webhooks | toJson | quote }}
{{- if .Values.notifications.webhooks }}
{{- $_ := required "notifications.keysSecret: name the Secret with the keys that webhooks' events are signed with" .Values.notifications.keysSecret }}
KNATIVE_LAMBDA_WEBHOOK_KEYS: /var/run/secrets/knative-lambda/webhooks
{{- end }}
{{- if or .Values.notifications.caSecret .Values.notifications.clientSecret }}
KNATIVE_LAMBDA_WEBHOOK_TLS: /var/run/secrets/knative-lambda/notifications-tls
{{- end }}
KNATIVE_LAMBDA_WEBHOOK_AGE: {{ .Values.notifications.giveUpSeconds }}
KNATIVE_LAMBDA_METRICS_PORT: {{ .Values.metrics.port }}
KNATIVE_LAMBDA_METRICS_ACCESS: {{ .Values.metrics.access }}
KNATIVE_LAMBDA_TRACES_URL: {{ .Values.tracing.url | quote }}
KNATIVE_LAMBDA_TRACES_PERCENT: {{ .Values.tracing.percent }}
KNATIVE_LAMBDA_NAMESPACE: {{ .Release.Namespace }}
KNATIVE_LAMBDA_TENANTS: {{ join "," .Values.tenants | quote }}
KNATIVE_LAMBDA_STORE_URL: {{ .Values.store.url | quote }}
KNATIVE_LAMBDA_STORE_ENDPOINT: {{ .Values.store.endpoint | quote }}
KNATIVE_LAMBDA_STORE_REGION: {{ .Values.store.region | quote }}
{{- if .Values.store.credentialsSecret }}
KNATIVE_LAMBDA_STORE_CREDENTIALS: /var/run/secrets/knative-lambda/store
{{- end }}
{{- if or .Values.store.caSecret .Values.store.clientSecret }}
KNATIVE_LAMBDA_STORE_TLS: /var/run/secrets/knative-lambda/store-tls
{{- end }}
KNATIVE_LAMBDA_STORE_CA_SECRET: {{ .Values.store.caSecret | quote }}
KNATIVE_LAMBDA_TENANT_STORES: {{ include "tenantStores" . | quote }}
KNATIVE_LAMBDA_TENANT_REGISTRIES: {{ include "tenantRegistries" . | quote }}
KNATIVE_LAMBDA_REGISTRY: {{ required "registry.prefix: name the host, or host/path, that images are pushed to" .Values.registry.prefix | quote }}
KNATIVE_LAMBDA_REGISTRY_INSECURE: {{ .Values.registry.insecure }}
KNATIVE_LAMBDA_REGISTRY_SECRET: {{ include "pushSecret" . | quote }}
{{- with .Values.registry.tokens }}
{{- if .secret }}
KNATIVE_LAMBDA_REGISTRY_TOKENS: /var/run/secrets/knative-lambda/registry-tokens
KNATIVE_LAMBDA_REGISTRY_TOKENS_ISSUER: {{ .issuer | quote }}
KNATIVE_LAMBDA_REGISTRY_TOKENS_SERVICE: {{ .service | quote }}
{{- end }}
KNATIVE_LAMBDA_REGISTRY_READS: {{ join "," .reads | quote }}
{{- end }}
KNATIVE_LAMBDA_REGISTRY_PULL_SECRET: {{ .Values.registry.pullSecret | quote }}
KNATIVE_LAMBDA_RESERVED_SECRETS: {{ join "," (fromJsonArray (include "reservedSecrets" .)) | quote }}
KNATIVE_LAMBDA_IMAGE_HOSTS: {{ join "," .Values.reach.imageHosts | quote }}
KNATIVE_LAMBDA_REACH_ALLOWED: {{ join "," .Values.reach.allowed | quote }}
KNATIVE_LAMBDA_REACH_BLOCKED: {{ join "," .Values.reach.blocked | quote }}
{{- if or .Values.registry.caSecret .Values.registry.clientSecret }}
KNATIVE_LAMBDA_REGISTRY_TLS: /var/run/secrets/knative-lambda/registry-tls
{{- end }}
KNATIVE_LAMBDA_REGISTRY_CA_SECRET: {{ .Values.registry.caSecret | quote }}
KNATIVE_LAMBDA_REGISTRY_CLIENT_SECRET: {{ .Values.registry.buildsClientSecret | quote }}
{{- if .Values.registry.secret }}
KNATIVE_LAMBDA_REGISTRY_CONFIG: /var/run/secrets/knative-lambda/registry/config.json
{{- end }}
KNATIVE_LAMBDA_PYTHON_BASE: {{ required "runtimes.python: name the base image of Python functions, by digest (deploy/images.sh builds it)" .Values.runtimes.python | quote }}
KNATIVE_LAMBDA_NODE_BASE: {{ required "runtimes.node: name the base image of Node functions, by digest (deploy/images.sh builds it)" .Values.runtimes.node | quote }}
KNATIVE_LAMBDA_GO_BASE: {{ .Values.runtimes.go | quote }}
KNATIVE_LAMBDA_LAYERS: {{ .Values.builds.layers }}
KNATIVE_LAMBDA_LAYER_LIMIT: {{ .Values.builds.layerLimit }}
KNATIVE_LAMBDA_PLATFORM: {{ .Values.builds.platform | quote }}
KNATIVE_LAMBDA_KANIKO_IMAGE: {{ .Values.builds.kanikoImage | quote }}
KNATIVE_LAMBDA_BUILD_USER_NAMESPACES: {{ .Values.builds.userNamespaces }}
KNATIVE_LAMBDA_BUILD_SECRETS: {{ .Values.builds.secrets }}
KNATIVE_LAMBDA_BUILD_INDEXES: {{ .Values.builds.indexes | toJson | quote }}
KNATIVE_LAMBDA_BUILD_TENANT_INDEXES: {{ .Values.builds.tenantIndexes | toJson | quote }}
KNATIVE_LAMBDA_BUILD_PROXIES: {{ .Values.builds.proxy | toJson | quote }}
KNATIVE_LAMBDA_BUILD_CA: {{ .Values.builds.ca | quote }}
KNATIVE_LAMBDA_GIT_IMAGE: {{ .Values.builds.git.image | quote }}
KNATIVE_LAMBDA_GIT_HOSTS: {{ join "," .Values.builds.git.hosts | quote }}
KNATIVE_LAMBDA_GIT_INSECURE: {{ .Values.builds.git.insecure }}
KNATIVE_LAMBDA_BUILD_MIRRORS: {{ .Values.builds.mirrors | toJson | quote }}
KNATIVE_LAMBDA_FETCH_IMAGE: {{ .Values.image | quote }}
KNATIVE_LAMBDA_SUPPLY_DOCUMENTS: {{ .Values.supply.documents }}
{{- if or .Values.supply.sign (ne .Values.supply.verify "none") }}
{{- $_ := required "supply.keysSecret: name the Secret with the keys to sign and verify with" .Values.supply.keysSecret }}
KNATIVE_LAMBDA_SUPPLY_KEYS: /var/run/secrets/knative-lambda/supply
{{- end }}
KNATIVE_LAMBDA_SUPPLY_SIGN: {{ .Values.supply.sign }}
KNATIVE_LAMBDA_SUPPLY_VERIFY: {{ .Values.supply.verify | quote }}
KNATIVE_LAMBDA_BUILDS_REUSE: {{ .Values.builds.reuse | quote }}
KNATIVE_LAMBDA_BUILDS_PER_TENANT: {{ .Values.builds.atOnce.perTenant }}
KNATIVE_LAMBDA_BUILDS_AT_ONCE: {{ .Values.builds.atOnce.inAll }}
KNATIVE_LAMBDA_BUILD_DEADLINE: {{ .Values.builds.deadlineSeconds }}
KNATIVE_LAMBDA_BUILD_OUTSIDE: {{ .Values.builds.outsideSeconds }}
KNATIVE_LAMBDA_BUILD_ATTEMPTS: {{ .Values.builds.attempts }}
KNATIVE_LAMBDA_BUILD_PAUSE: {{ .Values.builds.pauseSeconds }}
KNATIVE_LAMBDA_BUILD_PENDING: {{ .Values.builds.pendingSeconds }}
KNATIVE_LAMBDA_BUILD_SILENCE: {{ .Values.builds.silenceSeconds }}
KNATIVE_LAMBDA_BUILD_TTL: {{ .Values.builds.ttlSeconds }}
KNATIVE_LAMBDA_BUILD_CACHE: {{ .Values.builds.cacheHours }}
KNATIVE_LAMBDA_BUILDS_KEPT: {{ .Values.builds.kept }}
KNATIVE_LAMBDA_BUILDS_MAX_AGE: {{ .Values.builds.maxAgeDays }}
KNATIVE_LAMBDA_BUILD_RESOURCES: {{ .Values.builds.resources | toJson | quote }}
KNATIVE_LAMBDA_FUNCTION_RESOURCES: {{ .Values.functions.resources | toJson | quote }}
KNATIVE_LAMBDA_FUNCTION_TMP: {{ .Values.functions.tmp | quote }}
KNATIVE_LAMBDA_FUNCTION_EMPTY_DIR: {{ .Values.functions.emptyDir | quote }}
KNATIVE_LAMBDA_FUNCTION_NODE_LABELS: {{ join "," .Values.functions.nodeLabels | quote }}
KNATIVE_LAMBDA_FUNCTION_LABEL_PREFIXES: {{ join "," .Values.functions.labelPrefixes | quote }}
KNATIVE_LAMBDA_FUNCTION_READ_ONLY_ROOT: {{ .Values.functions.readOnlyRoot }}
KNATIVE_LAMBDA_BROKER_URL: {{ .Values.eventing.ingress | quote }}
{{- if or .Values.eventing.caSecret .Values.eventing.clientSecret }}
KNATIVE_LAMBDA_BROKER_TLS: /var/run/secrets/knative-lambda/broker-tls
{{- end }}
KNATIVE_LAMBDA_DEAD_LETTER_URL: {{ include "deadLetterURL" . }}
KNATIVE_LAMBDA_DEAD_LETTER_TTL: {{ .Values.deadletters.ttlSeconds }}
KNATIVE_LAMBDA_DEAD_LETTERS_KEPT: {{ .Values.deadletters.kept }}
KNATIVE_LAMBDA_DELIVERY_RETRY: {{ .Values.functions.delivery.retry }}
KNATIVE_LAMBDA_DELIVERY_BACKOFF_POLICY: {{ .Values.functions.delivery.backoffPolicy }}
KNATIVE_LAMBDA_DELIVERY_BACKOFF_DELAY: {{ .Values.functions.delivery.backoffDelay }}
KNATIVE_LAMBDA_LEGACY_TENANT: {{ .Values.receiver.legacyTenant | quote }}
KNATIVE_LAMBDA_API: {{ .Values.receiver.api }}
KNATIVE_LAMBDA_PAGE: {{ .Values.receiver.page }}
KNATIVE_LAMBDA_ACCESS_EVENTS: {{ join "," .Values.receiver.access.events | quote }}
KNATIVE_LAMBDA_ACCESS_API: {{ join "," .Values.receiver.access.api | quote }}
KNATIVE_LAMBDA_ACCESS_AUDIENCE: {{ .Values.receiver.access.audience | quote }}
{{- if .Values.receiver.access.keysSecret }}
KNATIVE_LAMBDA_ACCESS_KEYS: /var/run/secrets/knative-lambda/keys
{{- end }}
{{- if has "oidc" .Values.receiver.access.events }}
KNATIVE_LAMBDA_BROKER_TOKENS: /var/run/secrets/knative-lambda/brokers
{{- end }}
KNATIVE_LAMBDA_LOG_EFFECTS: {{ .Values.receiver.logEffects }}
{{- end }}

{{/* Whom the receiver believes, and how it says who it is, by whom it speaks to: JSON, so that two templates walk over it. */}}
{{- define "trusted" -}}
{{- $trusted := dict }}
{{- range $name, $key := dict "audit" "audit" "broker" "eventing" "notifications" "notifications" "registry" "registry" "store" "store" }}
{{- $given := index $.Values $key }}
{{- if or $given.caSecret $given.clientSecret }}
{{- $_ := set $trusted $name (dict "ca" $given.caSecret "client" $given.clientSecret) }}
{{- end }}
{{- end }}
{{- toJson $trusted }}
{{- end }}

{{/* The stores of tenants' own, as handler/stores.py reads them, as JSON. */}}
{{- define "tenantStores" -}}
{{- $stores := dict }}
{{- range $tenant, $given := .Values.tenantStores }}
{{- if eq $given.kind "custom" }}
{{- $folder := printf "/var/run/secrets/knative-lambda/stores/%s" $tenant }}
{{- $store := pick $given "url" "endpoint" "region" "caSecret" }}
{{- if $given.credentialsSecret }}
{{- $_ := set $store "credentials" $folder }}
{{- end }}
{{- if or $given.caSecret $given.clientSecret }}
{{- $_ := set $store "tls" $folder }}
{{- end }}
{{- $_ := set $stores $tenant $store }}
{{- end }}
{{- end }}
{{- toJson $stores }}
{{- end }}

{{/* The registries of tenants' own, as JSON. */}}
{{- define "tenantRegistries" -}}
{{- $registries := dict }}
{{- range $tenant, $given := .Values.tenantRegistries }}
{{- if eq $given.kind "custom" }}
{{- $registry := dict "prefix" $given.prefix }}
{{- with $given.secret }}
{{- $_ := set $registry "secret" . }}
{{- $_ := set $registry "config" (printf "/var/run/secrets/knative-lambda/registries/%s/config.json" $tenant) }}
{{- end }}
{{- $_ := set $registries $tenant $registry }}
{{- end }}
{{- end }}
{{- toJson $registries }}
{{- end }}
