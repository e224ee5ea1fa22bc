{{/* What the values' schema can't say. */}}
{{- define "carillon.validate" -}}
{{- if and .Values.redis.url .Values.redis.existingSecret.name -}}
{{- fail "redis.url and redis.existingSecret exclude each other: set one of them" -}}
{{- end -}}
{{- if regexMatch "://[^/]*:[^/@]+@" .Values.redis.url -}}
{{- fail "redis.url holds a password, which anyone who may read pods could see: keep the URL in a Secret and name it in redis.existingSecret" -}}
{{- end -}}
{{- range $name, $_ := .Values.fleets -}}
{{- if eq $name "default" -}}
{{- fail "fleets.default: the default fleet is what `server` says" -}}
{{- end -}}
{{- end -}}
{{- range $fleet := include "carillon.fleets" . | fromYamlArray -}}
{{- $at := eq $fleet.name "default" | ternary "server" (printf "fleets.%s" $fleet.name) -}}
{{- if and (gt (int $fleet.server.replicas) 1) (not (include "carillon.redis.configured" $)) -}}
{{- fail (printf "%s.replicas is %d, and pods find each other through Redis: set redis.url or redis.existingSecret, or %s.replicas to 1" $at (int $fleet.server.replicas) $at) -}}
{{- end -}}
{{- if gt (len $fleet.names.server) 63 -}}
{{- fail (printf "%s: the name %q of its Service is longer than 63 characters: choose a shorter name, or set fullnameOverride" $at $fleet.names.server) -}}
{{- end -}}
{{- end -}}
{{- if ne (empty .Values.tls.server.existingSecret) (empty .Values.tls.operator.existingSecret) -}}
{{- fail "tls.server.existingSecret and tls.operator.existingSecret go together: one authority signs both" -}}
{{- end -}}
{{- if and .Values.sessionKey.existingSecret.key (not .Values.sessionKey.existingSecret.name) -}}
{{- fail "sessionKey.existingSecret.key is set without sessionKey.existingSecret.name" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host must be set when ingress.enabled is true" -}}
{{- end -}}
{{- end -}}
