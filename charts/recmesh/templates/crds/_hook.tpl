{{/*
(dict "root" $ "name" "crds" "events" "pre-install,pre-upgrade" "args" (list …) "verbs" (list …)): a Job of our own
image with an account that may do one thing to RecMesh's definitions and nothing else.
*/}}
{{- define "recmesh.crdsHook" -}}
{{- $root := .root }}
{{- $name := printf "%s-%s" (include "recmesh.fullname" .root) .name }}
{{- $cluster := printf "%s-%s" (include "recmesh.clusterName" .root) .name }}
{{- $labels := include "recmesh.labels" (dict "root" .root "component" "crds") }}
{{- $hook := printf "helm.sh/hook: %s\nhelm.sh/hook-delete-policy: before-hook-creation,hook-succeeded" .events }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- $hook | nindent 4 }}
    helm.sh/hook-weight: "-2"
automountServiceAccountToken: false
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: {{ $cluster }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- $hook | nindent 4 }}
    helm.sh/hook-weight: "-2"
rules:
  - apiGroups: [apiextensions.k8s.io]
    resources: [customresourcedefinitions]
    resourceNames:
      {{- range include "recmesh.plurals" $root | fromJsonArray }}
      - {{ . }}.recmesh.dev
      {{- end }}
    verbs: {{ .verbs | toJson }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $cluster }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- $hook | nindent 4 }}
    helm.sh/hook-weight: "-1"
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $cluster }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
---
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- $labels | nindent 4 }}
  annotations:
    {{- $hook | nindent 4 }}
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 240
  template:
    metadata:
      labels:
        {{- $labels | nindent 8 }}
    spec:
      restartPolicy: Never
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: true
      enableServiceLinks: false
      securityContext:
        {{- toYaml $root.Values.podSecurityContext | nindent 8 }}
      {{- with include "recmesh.placement" (dict "root" $root "of" $root.Values.operator) | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: crds
          {{- include "recmesh.container" $root | nindent 10 }}
          args:
            {{- range .args }}
            - {{ . }}
            {{- end }}
            {{- include "recmesh.logArgs" $root | nindent 12 }}
          terminationMessagePolicy: FallbackToLogsOnError
          resources:
            requests: {cpu: 50m, memory: 64Mi}
            limits: {memory: 256Mi}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
      volumes:
        - name: tmp
          emptyDir: {sizeLimit: 16Mi}
{{- end }}
