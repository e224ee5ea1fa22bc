{{/* What the values' schema can't say. */}}
{{- define "carillon.validate" -}}
{{- if and .Values.redis.url .Values.redis.existingSecret.name -}}
{{- fail "redis.url and redis.existingSecret exclude each other: set one of them" -}}
{{- end -}}
{{- if regexMatch "://[^/]*:[^/@]+@" .Values.redis.url -}}
{{- fail "redis.url holds a password, which anyone who may read pods could see: keep the URL in a Secret and name it in redis.existingSecret" -}}
{{- end -}}
{{- if and (gt (int .Values.server.replicas) 1) (not (include "carillon.redis.configured" .)) -}}
{{- fail (printf "server.replicas is %d, and pods find each other through Redis: set redis.url or redis.existingSecret, or server.replicas to 1" (int .Values.server.replicas)) -}}
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
