{{/* The operator's configuration file. */}}
{{- define "recmesh.operatorConfig" -}}
watchNamespaces: {{ .Values.watchNamespaces | toJson }}
image:
  reference: {{ include "recmesh.image" . | quote }}
  pullPolicy: {{ .Values.image.pullPolicy }}
  pullSecrets:
    {{- range .Values.imagePullSecrets }}
    - {{ .name }}
    {{- else }} []
    {{- end }}
store:
  {{- if .Values.store.uri }}
  uri: {{ .Values.store.uri | quote }}
  {{- with .Values.store.secretRef }}
  secretRef: {{ . }}
  {{- end }}
  {{- else if .Values.store.image }}
  image: {{ .Values.store.image | quote }}
  {{- else }}
  claim: {{ default "recmesh-store" .Values.store.claim }}
  {{- end }}
data:
  claim: {{ empty .Values.data.claim | ternary "null" .Values.data.claim }}
{{- if .Values.gateway.enabled }}
gateway:
  namespace: {{ .Release.Namespace }}
  service: {{ include "recmesh.fullname" . }}-gateway-admin
  url: {{ include "recmesh.url" . | quote }}
{{- else }}
gateway: null
{{- end }}
pods:
  serviceAccount: {{ .Values.serviceAccount.worker }}
  nodeSelector: {{ .Values.pods.nodeSelector | toJson }}
  tolerations: {{ .Values.pods.tolerations | toJson }}
  priorityClassName: {{ empty .Values.pods.priorityClassName | ternary "null" .Values.pods.priorityClassName }}
leaderElection:
  enabled: {{ .Values.leaderElection.enabled }}
  namespace: {{ .Release.Namespace }}
  lease: {{ include "recmesh.fullname" . }}-operator
  duration: {{ .Values.leaderElection.duration }}
  renew: {{ .Values.leaderElection.renew }}
  retry: {{ .Values.leaderElection.retry }}
concurrency: {{ .Values.operator.concurrency }}
{{- end }}
