{{/* Rights, each list only what its process calls. */}}

{{- define "recmesh.plurals" -}}
["datasets","tokenizers","retrievalmodels","rankingmodels","trainingjobs","evaluationjobs","pipelines"]
{{- end }}

{{/* (dict "suffix" "/status"): the plurals as a YAML flow list. */}}
{{- define "recmesh.resources" -}}
{{- $all := list }}
{{- range include "recmesh.plurals" . | fromJsonArray }}
{{- $all = append $all (printf "%s%s" . $.suffix) }}
{{- end }}
{{- $all | toJson }}
{{- end }}

{{/* The operator, in the namespaces that it looks after. */}}
{{- define "recmesh.operatorRules" -}}
- apiGroups: [recmesh.dev]
  resources: {{ include "recmesh.resources" (dict "suffix" "") }}
  verbs: [get, list, watch]
- apiGroups: [recmesh.dev]
  resources: {{ include "recmesh.resources" (dict "suffix" "/status") }}
  verbs: [patch]
# Server-side apply: patch, and create where there is nothing yet; get, so that nobody else's object is taken.
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.keda.enabled }}
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [get, create, patch, delete]
{{- end }}
# Addresses of running jobs, which are asked for their reports; readiness of workers.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{/* The operator, in the release's namespace: its lease and the gateways' addresses. */}}
{{- define "recmesh.operatorOwnRules" -}}
{{- if .Values.leaderElection.enabled }}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "recmesh.fullname" . }}-operator]
  verbs: [get, update]
{{- end }}
{{- if .Values.gateway.enabled }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end }}
{{- end }}

{{/* The gateway, in the namespaces whose pipelines it serves. */}}
{{- define "recmesh.gatewayRules" -}}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- end }}

{{/*
(dict "root" $ "component" "operator" "account" NAME "rules" YAML): these rights everywhere, or in watchNamespaces.
*/}}
{{- define "recmesh.grant" -}}
{{- $root := .root }}
{{- $grant := . }}
{{- if .root.Values.watchNamespaces }}
{{- range .root.Values.watchNamespaces }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ include "recmesh.clusterName" $root }}-{{ $grant.component }}
  namespace: {{ . }}
  labels:
    {{- include "recmesh.labels" $grant | nindent 4 }}
rules:
  {{- $grant.rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ include "recmesh.clusterName" $root }}-{{ $grant.component }}
  namespace: {{ . }}
  labels:
    {{- include "recmesh.labels" $grant | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "recmesh.clusterName" $root }}-{{ $grant.component }}
subjects:
  - kind: ServiceAccount
    name: {{ $grant.account }}
    namespace: {{ $root.Release.Namespace }}
{{- end }}
{{- else }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ include "recmesh.clusterName" $root }}-{{ .component }}
  labels:
    {{- include "recmesh.labels" . | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ include "recmesh.clusterName" $root }}-{{ .component }}
  labels:
    {{- include "recmesh.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "recmesh.clusterName" $root }}-{{ .component }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
{{- end }}
