{{/*
Where the sessions are, if values besides config say so: the url of the store, and the secret and the key of its
password, as YAML. sessionStorage has the names of oauth2-proxy's chart.
*/}}
{{- define "gatehouse.store" -}}
{{- $redis := .values.redis | default dict -}}
{{- $storage := .values.sessionStorage | default dict -}}
{{- $given := $storage.redis | default dict -}}
{{- if $redis.enabled }}
{{- $context := dict "root" .root "values" $redis }}
url: redis://{{ include "gatehouse.redis.fullname" $context }}:6379
{{ include "gatehouse.redis.secret" $context }}
{{- else if eq ($storage.type | default "") "redis" }}
{{- $type := $given.clientType | default "standalone" }}
{{- $nodes := get $given $type | default dict }}
{{- if eq $type "standalone" }}
{{- with $nodes.connectionUrl }}
url: {{ quote . }}
{{- end }}
{{- else }}
{{- with $nodes.connectionUrls }}
{{- $urls := kindIs "slice" . | ternary (toStrings . | join ",") . }}
{{- $hosts := regexReplaceAll "/[0-9]*(,|$)" (regexReplaceAll "rediss?://" $urls "") "${1}" }}
url: {{ printf "redis%s+%s://%s%s" (hasPrefix "rediss:" $urls | ternary "s" "") $type $hosts (eq $type "sentinel" | ternary (printf "/%s" ($nodes.masterName | default "")) "") | quote }}
{{- end }}
{{- end }}
{{- with $given.existingSecret }}
secret: {{ . | quote }}
key: {{ $given.passwordKey | default "redis-password" | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* An env entry with the password of the store. */}}
{{- define "gatehouse.storeEnv" -}}
{{- with include "gatehouse.store" . | fromYaml }}
{{- if .secret }}
- name: GATEHOUSE_SESSION_REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails on values of the store that contradict each other or have no equal, and says what to write instead. */}}
{{- define "gatehouse.refuseStore" -}}
{{- $values := .values -}}
{{- $redis := $values.redis | default dict -}}
{{- $storage := $values.sessionStorage | default dict -}}
{{- $given := $storage.redis | default dict -}}
{{- $store := include "gatehouse.store" . | fromYaml -}}
{{- $url := $store.url | default "" -}}
{{- $written := (($values.config | default dict).session | default dict).store -}}
{{- $type := $given.clientType | default "standalone" -}}
{{- $key := printf "sessionStorage.redis.%s.connectionUrl%s" $type (eq $type "standalone" | ternary "" "s") -}}
{{- if and $url $written }}
{{- fail (printf "%s and config.session.store both say where the sessions are: keep one of them" ($redis.enabled | ternary "redis.enabled" $key)) }}
{{- end -}}
{{- if and $redis.enabled (or $given.existingSecret (($given.standalone | default dict).connectionUrl) (($given.cluster | default dict).connectionUrls) (($given.sentinel | default dict).connectionUrls)) }}
{{- fail "redis.enabled and sessionStorage.redis both say where the sessions are: keep one of them; redis.auth.existingSecret names the Secret of the chart's Redis" }}
{{- end -}}
{{- if and $redis.enabled (ne (include "gatehouse.namespace" .) .root.Release.Namespace) }}
{{- fail "redis.enabled is for the namespace of the release: leave namespaceOverride out, or use a Redis outside this release" }}
{{- end -}}
{{- if eq ($storage.type | default "") "cookie" }}
{{- fail "sessionStorage.type: cookie: the gateway keeps sessions in its memory or in Redis, never in the cookie: leave it out for one replica, or write redis.enabled: true" }}
{{- end -}}
{{- if and (eq ($storage.type | default "") "redis") (not $url) (not $written) (not $values.existingConfig) }}
{{- fail (printf "sessionStorage.type: redis names no Redis: write %s, or redis.enabled: true" $key) }}
{{- end -}}
{{- if and $given (ne ($storage.type | default "") "redis") (or $given.existingSecret ($given.standalone | default dict).connectionUrl ($given.cluster | default dict).connectionUrls ($given.sentinel | default dict).connectionUrls) }}
{{- fail "sessionStorage.redis is for sessionStorage.type: redis: write the type, or leave sessionStorage out" }}
{{- end -}}
{{- $sentinel := $given.sentinel | default dict -}}
{{- if and $sentinel.existingSecret (ne $sentinel.existingSecret ($given.existingSecret | default "")) }}
{{- fail "sessionStorage.redis.sentinel has a password of its own: the gateway asks sentinels without a password, then with the password of Redis: leave it out" }}
{{- end -}}
{{- if and (hasPrefix "redis" $url) (contains "+sentinel:" $url) (not $sentinel.masterName) }}
{{- fail "sessionStorage.redis.sentinel.masterName is missing: write the name of the master that the sentinels watch" }}
{{- end -}}
{{- if contains "@" $url }}
{{- fail (printf "%s has a user or a password in it, and a ConfigMap is no place for that: name the Secret of the password in sessionStorage.redis.existingSecret, and the user in config.session.redis.username" $key) }}
{{- end -}}
{{- end }}
