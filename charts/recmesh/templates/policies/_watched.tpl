{{/* A policy binding for the namespaces that this release looks after. */}}
{{- define "recmesh.watched" -}}
{{- if .Values.watchNamespaces -}}
matchResources:
  namespaceSelector:
    matchExpressions:
      - key: kubernetes.io/metadata.name
        operator: In
        values: {{ .Values.watchNamespaces | toJson }}
{{- end }}
{{- end }}
