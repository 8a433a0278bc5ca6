{{/* Labels of every object, and of a component of the product: (list $ "receiver"). */}}
{{- define "labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: knative-lambda
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Annotations of what a tenant keeps when it is no longer in the list. */}}
{{- define "kept" -}}
{{- if .Values.keepTenants -}}
helm.sh/resource-policy: keep
{{- end }}
{{- end }}

{{- define "deadLetterURL" -}}
http://deadletters.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{/* A Broker: (dict "root" $ "name" … "namespace" … "retry" … "annotations" …). */}}
{{- define "broker" -}}
{{- $root := .root -}}
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "labels" $root | nindent 4 }}
  annotations:
    eventing.knative.dev/broker.class: {{ $root.Values.eventing.brokerClass }}
    # read when the Broker is made and never again: without it a sender waits for the subscribers, and one that gives
    # up ends the retries
    messaging.knative.dev/async-handler: "true"
    {{- with .annotations }}{{ . | nindent 4 }}{{ end }}
spec:
  {{- with $root.Values.eventing.brokerConfig }}
  config: {{- toYaml . | nindent 4 }}
  {{- end }}
  delivery:
    {{- toYaml (merge (dict "retry" .retry) $root.Values.eventing.delivery) | nindent 4 }}
    deadLetterSink:
      uri: {{ include "deadLetterURL" $root }}/{{ .namespace }}
      {{- if has "oidc" $root.Values.receiver.access.events }}
      audience: {{ $root.Values.receiver.access.audience }}
      {{- end }}
{{- end }}

{{/* What Pod Security's `restricted` asks of a container. */}}
{{- define "restricted" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* The Secret in <tenant>-builds that builds push with; none where each gets a token of its own. */}}
{{- define "pushSecret" -}}
{{- with .Values.registry }}{{ if not .tokens.secret }}{{ .tenantSecret | default .secret }}{{ end }}{{ end }}
{{- end }}

{{/* A Role and its binding to a ServiceAccount of the product: (dict "root" $ "account" … "namespace" … "rules" …),
or to the "subjects" that are given. */}}
{{- define "grant" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: knative-lambda-{{ .account }}
  namespace: {{ .namespace }}
  labels: {{- include "labels" .root | nindent 4 }}
rules: {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: knative-lambda-{{ .account }}
  namespace: {{ .namespace }}
  labels: {{- include "labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: knative-lambda-{{ .account }}
subjects:
  {{- with .subjects }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
  {{- end }}
{{- end }}

{{/* Refuse values that would take over somebody else's namespace, before anything is made. */}}
{{- define "check" -}}
{{- $product := .Release.Namespace -}}
{{- range $tenant := .Values.tenants -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $tenant) -}}
{{- fail (printf "tenants: %q is no name for a namespace: lower case letters, digits and hyphens, a letter first" $tenant) -}}
{{- else if gt (len $tenant) 56 -}}
{{- fail (printf "tenants: %q has %d characters; 56 at most, so that \"-builds\" fits behind it" $tenant (len $tenant)) -}}
{{- else if has $product (list $tenant (printf "%s-builds" $tenant)) -}}
{{- fail (printf "tenants: %q would be or hold the product's own namespace %q" $tenant $product) -}}
{{- else if or (eq $tenant "default") (regexMatch "^(kube|knative)-|-system$" $tenant) -}}
{{- fail (printf "tenants: %q is a namespace of the system" $tenant) -}}
{{- else if has (printf "%s-builds" $tenant) $.Values.tenants -}}
{{- fail (printf "tenants: \"%s-builds\" is the namespace for the builds of %q, and can't be a tenant too" $tenant $tenant) -}}
{{- end -}}
{{- end -}}
{{- range $tenant, $_ := .Values.people -}}
{{- if not (has $tenant $.Values.tenants) -}}
{{- fail (printf "people: %q is not among the tenants" $tenant) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "tenantStores" "tenantRegistries" -}}
{{- range $tenant, $given := index $.Values $name -}}
{{- if and (eq $given.kind "custom") (not (has $tenant $.Values.tenants)) -}}
{{- fail (printf "%s: %q is not among the tenants" $name $tenant) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $modes := .Values.receiver.access.events -}}
{{- if and (has "none" $modes) (gt (len $modes) 1) -}}
{{- fail "receiver.access.events: none stands alone: who is not asked needs no other way" -}}
{{- else if not (or (has "none" $modes) (has "oidc" $modes)) -}}
{{- fail "receiver.access.events: the product's own Brokers bring what it is told, so none or oidc must be among them" -}}
{{- else if and (has "hmac" $modes) (not .Values.receiver.access.keysSecret) -}}
{{- fail "receiver.access.keysSecret: name the Secret with the keys, which hmac needs" -}}
{{- else if and .Values.eventing.senders (not (has "oidc" $modes)) -}}
{{- fail "eventing.senders: they are asked for where receiver.access.events has oidc" -}}
{{- else if and (has "none" .Values.receiver.access.api) (gt (len .Values.receiver.access.api) 1) -}}
{{- fail "receiver.access.api: none stands alone: who is not asked needs no other way" -}}
{{- else if and .Values.receiver.page (not .Values.receiver.api) -}}
{{- fail "receiver.page: it shows what receiver.api serves, which is false" -}}
{{- end -}}
{{- with .Values.receiver.legacyTenant -}}
{{- if not (has . $.Values.tenants) -}}
{{- fail (printf "receiver.legacyTenant: %q is not among the tenants" .) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Secrets in tenants' namespaces that no function may name, as JSON. */}}
{{- define "reservedSecrets" -}}
{{- append .Values.admission.reservedSecrets .Values.registry.pullSecret | compact | uniq | toJson -}}
{{- end }}
