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

{{/* Where clients and backends reach the servers of a fleet. Takes (dict "root" $ "fleet" $fleet). */}}
{{- define "carillon.fleet.publicUrl" -}}
{{- if .fleet.publicUrl -}}
{{- .fleet.publicUrl | trimSuffix "/" -}}
{{- else if and .fleet.ingress.enabled .fleet.ingress.host -}}
http{{ if .fleet.ingress.tlsSecretName }}s{{ end }}://{{ .fleet.ingress.host }}
{{- else -}}
{{- $port := int .fleet.server.service.port -}}
http://{{ .fleet.names.server }}.{{ .root.Release.Namespace }}.svc{{ if ne $port 80 }}:{{ $port }}{{ end }}
{{- end -}}
{{- end -}}

{{/*
Every fleet as a list: the default one, which `server` describes, and each of `fleets` on top of that. What templates need of one is here:
  name, server (its values), ingress, publicUrl, names (server, admin, boot), component (what its labels are made of)
*/}}
{{- define "carillon.fleets" -}}
{{- $root := . -}}
{{- $fullname := include "carillon.fullname" . -}}
{{- $default := dict "name" "default" "server" .Values.server "ingress" .Values.ingress "publicUrl" .Values.publicUrl "component" "server" -}}
{{- $_ := set $default "names" (dict "server" (include "carillon.server.name" .) "admin" (include "carillon.admin.name" .) "boot" (include "carillon.bootConfig.secretName" .)) -}}
{{- $fleets := list $default -}}
{{- range $name, $overrides := .Values.fleets -}}
{{- $overrides := default dict $overrides -}}
{{- $server := mergeOverwrite (deepCopy $root.Values.server) (omit (deepCopy $overrides) "ingress" "publicUrl") -}}
{{- $ingress := mergeOverwrite (deepCopy $root.Values.ingress) (dict "host" "" "tlsSecretName" "") (deepCopy (default dict $overrides.ingress)) -}}
{{- $names := dict "server" (printf "%s-fleet-%s" $fullname $name) "admin" (printf "%s-admin-%s" $fullname $name) "boot" (printf "%s-boot-%s" $fullname $name) -}}
{{- $fleets = append $fleets (dict "name" $name "server" $server "ingress" $ingress "publicUrl" $overrides.publicUrl "component" "fleet-server" "names" $names) -}}
{{- end -}}
{{- toYaml $fleets -}}
{{- end -}}

{{/* What labels of a fleet's objects are made of. Takes (dict "root" $ "fleet" $fleet). */}}
{{- define "carillon.fleet.labels" -}}
{{ include "carillon.labels" (dict "root" .root "component" .fleet.component "fleet" .fleet.name) }}
{{- end -}}

{{- define "carillon.fleet.selectorLabels" -}}
{{ include "carillon.selectorLabels" (dict "root" .root "component" .fleet.component "fleet" .fleet.name) }}
{{- end -}}

{{/* Labels that select a component's pods; they must never change. Takes (dict "root" $ "component" "server"), and the "fleet" of a server. */}}
{{- define "carillon.selectorLabels" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- /* The default fleet's never had it. */ -}}
{{- if eq .component "fleet-server" }}
carillon.dev/fleet: {{ .fleet }}
{{- end }}
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
