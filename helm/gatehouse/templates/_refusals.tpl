{{/* Fails on values that contradict each other, or that put a secret into the ConfigMap, and says what to write instead. */}}
{{- define "gatehouse.refuse" -}}
{{- $values := .values -}}
{{- $config := $values.config | default dict -}}
{{- $session := $config.session | default dict -}}
{{- $providers := dict "config.provider" ($config.provider | default dict) -}}
{{- range $name, $provider := ($config.providers | default dict) }}
{{- $_ := set $providers (printf "config.providers.%s" $name) ($provider | default dict) }}
{{- end -}}
{{- $service := $values.upstreamService | default dict -}}
{{- $sidecar := eq ($values.mode | default "proxy") "sidecar" -}}
{{- $admin := kindIs "map" $config.admin | ternary $config.admin dict -}}
{{- $administrators := kindIs "map" $admin.sessions | ternary $admin.sessions dict -}}
{{- $autoscaling := $values.autoscaling | default dict -}}

{{- $written := dict "config.admin.sessions.token" $administrators.token "config.session.redis.password" (($session.redis | default dict).password) -}}
{{- range $index, $key := (kindIs "slice" $session.keys | ternary $session.keys (list $session.keys)) }}
{{- $_ := set $written (printf "config.session.keys[%d]" $index) $key }}
{{- end -}}
{{- range $path, $provider := $providers }}
{{- $_ := set $written (printf "%s.clientSecret" $path) $provider.clientSecret }}
{{- $_ := set $written (printf "%s.privateKey" $path) $provider.privateKey }}
{{- range $index, $key := (kindIs "slice" $provider.idTokenKeys | ternary $provider.idTokenKeys (list $provider.idTokenKeys)) }}
{{- $_ := set $written (printf "%s.idTokenKeys[%d]" $path $index) $key }}
{{- end }}
{{- end -}}
{{- range $path, $value := $written }}
{{- if and $value (not (contains "${" (toString $value))) }}
{{- fail (printf "%s is a secret, and a ConfigMap is no place for it: put it into the Secret that existingSecret names, and write ${NAME} here" $path) }}
{{- end }}
{{- end -}}
{{- include "gatehouse.refuseStore" . -}}
{{- $store := $session.store | default (include "gatehouse.store" . | fromYaml).url | default "memory:" -}}
{{- if regexMatch "://[^@/${]*:[^@/${]+@" $store }}
{{- fail "config.session.store has a password in it, and a ConfigMap is no place for that: write ${REDIS_URL}, and put REDIS_URL into the Secret that existingSecret names" }}
{{- end -}}

{{- $several := and (not $sidecar) (or $autoscaling.enabled (gt (int $values.replicaCount) 1)) -}}
{{- $given := $autoscaling.enabled | ternary "autoscaling" "replicaCount above 1" -}}
{{- if and $several (hasPrefix "memory" $store) }}
{{- fail (printf "%s needs a store that all replicas share: write redis.enabled: true, or config.session.store: rediss://HOST:6379, or ${REDIS_URL} with REDIS_URL in the Secret that existingSecret names; the memory store is for replicaCount: 1" $given) }}
{{- end -}}
{{- if and $several (not $session.keys) (not $values.existingSecret) }}
{{- fail (printf "%s needs session keys that all replicas share: put GATEHOUSE_SESSION_KEYS into a Secret and name it with existingSecret" $given) }}
{{- end -}}
{{- if and $several (kindIs "string" $config.listen) (hasPrefix "unix:" $config.listen) }}
{{- fail "config.listen is a Unix socket, which no Service reaches: write 0.0.0.0:8080, or leave it out" }}
{{- end -}}

{{- if and $service.name $config.upstream }}
{{- fail "upstreamService.name and config.upstream both say what is protected: keep one of them" }}
{{- end -}}
{{- if and $sidecar $service.name }}
{{- fail "upstreamService is for mode: proxy; a sidecar's application is in the same pod: write config.upstream: http://127.0.0.1:PORT" }}
{{- end -}}
{{- if and $sidecar (or $autoscaling.enabled ($values.ingress | default dict).enabled ($values.httpRoute | default dict).enabled ($values.podDisruptionBudget | default dict).enabled ($values.networkPolicy | default dict).enabled) }}
{{- fail "mode: sidecar makes the ConfigMap only: ingress, httpRoute, autoscaling, podDisruptionBudget and networkPolicy belong to the application's chart" }}
{{- end -}}

{{- $forwardAuth := $values.forwardAuth | default dict -}}
{{- if and $sidecar $forwardAuth.enabled }}
{{- fail "forwardAuth is for mode: proxy; a sidecar gives verdicts to a proxy in the same pod: write config.forwardAuth.listen: 127.0.0.1:8081" }}
{{- end -}}
{{- if and (not $sidecar) $config.forwardAuth }}
{{- fail "config.forwardAuth has no Service and no NetworkPolicy: write forwardAuth.enabled: true instead" }}
{{- end -}}
{{- $policy := $values.networkPolicy | default dict -}}
{{- if and $forwardAuth.enabled $policy.enabled (not $policy.forwardAuthFrom) }}
{{- fail "the proxy can't reach the forward-auth listener: write networkPolicy.forwardAuthFrom, the pods of the proxy" }}
{{- end -}}
{{- if and $policy.forwardAuthFrom (not $forwardAuth.enabled) }}
{{- fail "networkPolicy.forwardAuthFrom is for the forward-auth listener: write forwardAuth.enabled: true, or leave it out" }}
{{- end -}}

{{- $probes := include "gatehouse.probes" . -}}
{{- if and (eq $probes "http") (kindIs "bool" $config.admin) }}
{{- fail "config.admin: false leaves nothing for the kubelet to ask: leave it out, or write probes.type: exec" }}
{{- end -}}
{{- if and (eq $probes "http") (regexMatch "^(unix:|127\\.|localhost|\\[::1\\])" (toString ($admin.listen | default ""))) }}
{{- fail (printf "config.admin.listen: %s is out of the kubelet's reach: write 0.0.0.0:9090 or leave it out, or write probes.type: exec" $admin.listen) }}
{{- end -}}
{{- include "gatehouse.refuseMonitoring" . -}}
{{- end }}
