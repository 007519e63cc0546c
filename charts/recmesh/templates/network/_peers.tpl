{{/* Peers and rules that several policies share. */}}

{{/* (dict "root" $ "component" "gateway"): pods of this release, from any namespace. */}}
{{- define "recmesh.ownPeer" -}}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ .root.Release.Namespace }}}
  podSelector:
    matchLabels:
      {{- include "recmesh.selector" . | nindent 6 }}
{{- end }}

{{/* (dict "root" $ "components" (list "job" "worker")): pods that the operator made, where it looks after them. */}}
{{- define "recmesh.madePeer" -}}
- namespaceSelector:
    {{- if .root.Values.watchNamespaces }}
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ .root.Values.watchNamespaces | toJson }}
    {{- else }} {}
    {{- end }}
  podSelector:
    {{- include "recmesh.made" .components | nindent 4 }}
{{- end }}

{{/* (list "job" "worker"): a selector of pods that the operator made. */}}
{{- define "recmesh.made" -}}
matchLabels: {app.kubernetes.io/name: recmesh, app.kubernetes.io/managed-by: recmesh-operator}
matchExpressions:
  - key: app.kubernetes.io/component
    operator: In
    values: {{ . | toJson }}
{{- end }}

{{- define "recmesh.toDns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "recmesh.toApiServer" -}}
- to:
    {{- range .Values.networkPolicy.apiServer.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.apiServer.ports }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}

{{- define "recmesh.fromMetrics" -}}
{{- with .Values.networkPolicy.metrics }}
- from:
    {{- toYaml . | nindent 4 }}
  ports:
    - {port: 8081, protocol: TCP}
{{- end }}
{{- end }}
