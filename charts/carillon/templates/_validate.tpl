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
{{- if and .Values.sessionKey.existingSecret.key (not .Values.sessionKey.existingSecret.name) -}}
{{- fail "sessionKey.existingSecret.key is set without sessionKey.existingSecret.name" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host must be set when ingress.enabled is true" -}}
{{- end -}}
{{- end -}}
