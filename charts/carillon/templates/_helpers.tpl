{{/* What every object's name begins with; short enough for the longest suffix, -operator-tls and the like. */}}
{{- define "carillon.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "carillon.server.name" -}}{{ include "carillon.fullname" . }}-server{{- end -}}
{{- define "carillon.operator.name" -}}{{ include "carillon.fullname" . }}-operator{{- end -}}

{{/* The Service through which the operator finds server pods. */}}
{{- define "carillon.admin.name" -}}{{ include "carillon.server.name" . }}-admin{{- end -}}

{{/* Where clients and backends reach the servers. */}}
{{- define "carillon.publicUrl" -}}
{{- if .Values.publicUrl -}}
{{- .Values.publicUrl | trimSuffix "/" -}}
{{- else if .Values.ingress.enabled -}}
http{{ if .Values.ingress.tlsSecretName }}s{{ end }}://{{ .Values.ingress.host }}
{{- else -}}
http://{{ include "carillon.server.name" . }}.{{ .Release.Namespace }}.svc{{ if ne (int .Values.server.service.port) 80 }}:{{ .Values.server.service.port }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Labels that select a component's pods; they must never change. Takes (dict "root" $ "component" "server"). */}}
{{- define "carillon.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of every object. Takes (dict "root" $ "component" "server"). */}}
{{- define "carillon.labels" -}}
{{ include "carillon.selectorLabels" . }}
app.kubernetes.io/part-of: carillon
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Takes (dict "root" $ "component" "server"). */}}
{{- define "carillon.image" -}}
{{- $tag := default .root.Chart.AppVersion .root.Values.image.tag -}}
{{- $prefix := .root.Values.image.repository | trimSuffix "/" -}}
{{- if $prefix }}{{ $prefix }}/{{ end }}carillon-{{ .component }}:{{ $tag }}
{{- end -}}

{{/* Who makes the certificates of the admin port: operator, certManager, or user. */}}
{{- define "carillon.tls.mode" -}}
{{- if .Values.tls.server.existingSecret }}user{{ else if .Values.tls.certManager.enabled }}certManager{{ else }}operator{{ end -}}
{{- end -}}

{{/* Where the operator keeps its authority, which nobody else reads. */}}
{{- define "carillon.tls.authority.secretName" -}}{{ include "carillon.fullname" . }}-ca{{- end -}}

{{- define "carillon.tls.server.secretName" -}}
{{- default (printf "%s-tls" (include "carillon.server.name" .)) .Values.tls.server.existingSecret -}}
{{- end -}}

{{- define "carillon.tls.operator.secretName" -}}
{{- default (printf "%s-tls" (include "carillon.operator.name" .)) .Values.tls.operator.existingSecret -}}
{{- end -}}

{{- define "carillon.bootConfig.secretName" -}}{{ include "carillon.fullname" . }}-boot{{- end -}}
{{- /* As many as the operator and the servers count. */ -}}
{{- define "carillon.bootConfig.shards" -}}8{{- end -}}

{{- define "carillon.sessionKey.secretName" -}}
{{- default (printf "%s-session-key" (include "carillon.fullname" .)) .Values.sessionKey.existingSecret.name -}}
{{- end -}}

{{- define "carillon.redis.configured" -}}
{{- if or .Values.redis.url .Values.redis.existingSecret.name }}true{{ end -}}
{{- end -}}

{{/* What the `restricted` Pod Security Standard asks for, and more. */}}
{{- define "carillon.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Lets the user read mounted Secrets, which nobody else may.
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "carillon.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}
