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
{{- if and .Values.tls.certManager.enabled .Values.tls.server.existingSecret -}}
{{- fail "tls.certManager.enabled and tls.server.existingSecret exclude each other: either cert-manager makes the certificates, or you do" -}}
{{- end -}}
{{- if and .Values.tls.certManager.issuerRef.name (not .Values.tls.certManager.enabled) -}}
{{- fail "tls.certManager.issuerRef.name is set, and cert-manager is not asked: set tls.certManager.enabled, too" -}}
{{- end -}}
{{- if lt (int64 .Values.tls.authoritySeconds) (mul 3 (int64 .Values.tls.certificateSeconds)) -}}
{{- fail (printf "tls.authoritySeconds is %d: an authority must last three times as long as what it signs (tls.certificateSeconds is %d), or longer" (int64 .Values.tls.authoritySeconds) (int64 .Values.tls.certificateSeconds)) -}}
{{- end -}}
{{- if and .Values.sessionKey.existingSecret.key (not .Values.sessionKey.existingSecret.name) -}}
{{- fail "sessionKey.existingSecret.key is set without sessionKey.existingSecret.name" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host must be set when ingress.enabled is true" -}}
{{- end -}}
{{- end -}}
