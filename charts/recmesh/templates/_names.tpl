{{/* Names, labels, the image. The prefix is cut so that every suffix fits into 63 characters. */}}

{{- define "recmesh.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "recmesh.fullname" -}}
{{- $name := include "recmesh.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* The prefix of objects without a namespace: two releases of one name may live in two namespaces. */}}
{{- define "recmesh.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "recmesh.fullname" .) }}
{{- end }}

{{/* (dict "root" $ "component" "gateway"): what selects pods; never changes. */}}
{{- define "recmesh.selector" -}}
app.kubernetes.io/name: {{ include "recmesh.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "recmesh.labels" -}}
{{ include "recmesh.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: recmesh
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "recmesh.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "recmesh.operatorAccount" -}}
{{- default (printf "%s-operator" (include "recmesh.fullname" .)) .Values.serviceAccount.operator }}
{{- end }}

{{- define "recmesh.gatewayAccount" -}}
{{- default (printf "%s-gateway" (include "recmesh.fullname" .)) .Values.serviceAccount.gateway }}
{{- end }}

{{/* The namespace of pipelines without one. */}}
{{- define "recmesh.defaultNamespace" -}}
{{- if .Values.gateway.defaultNamespace }}
{{- .Values.gateway.defaultNamespace }}
{{- else if or (empty .Values.watchNamespaces) (has .Release.Namespace .Values.watchNamespaces) }}
{{- .Release.Namespace }}
{{- else }}
{{- first .Values.watchNamespaces }}
{{- end }}
{{- end }}

{{/* Where requests go, from inside the cluster. */}}
{{- define "recmesh.url" -}}
{{- $port := int .Values.gateway.service.port }}
{{- printf "http://%s-gateway.%s" (include "recmesh.fullname" .) .Release.Namespace }}{{ if ne $port 80 }}:{{ $port }}{{ end }}
{{- end }}

{{/* Namespaces where jobs and workers are known to run, as a JSON list. */}}
{{- define "recmesh.podNamespaces" -}}
{{- concat (list .Release.Namespace) .Values.watchNamespaces | uniq | toJson }}
{{- end }}
