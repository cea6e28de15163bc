{{/*
Where the sessions are, if values besides config say so: the url of the store, and the secret and the key of its
password, as YAML. sessionStorage has the names of oauth2-proxy's chart.
*/}}
{{- define "gatehouse.store" -}}
{{- $redis := .values.redis | default dict -}}
{{- $storage := .values.sessionStorage | default dict -}}
{{- $given := $storage.redis | default dict -}}
{{- if $redis.enabled }}
{{- $name := include "gatehouse.redis.fullname" (dict "root" .root "values" $redis) }}
{{- $auth := $redis.auth | default dict }}
url: redis://{{ $name }}:6379
secret: {{ $auth.existingSecret | default $name }}
key: {{ $auth.existingSecretPasswordKey | default "redis-password" }}
{{- else if eq ($storage.type | default "cookie") "redis" }}
{{- with include "gatehouse.storeUrl" $given }}
url: {{ . | quote }}
{{- end }}
{{- with $given.existingSecret }}
secret: {{ . }}
key: {{ $given.passwordKey | default "redis-password" }}
{{- end }}
{{- end }}
{{- end }}

{{/* The URL of the Redis in sessionStorage.redis. */}}
{{- define "gatehouse.storeUrl" -}}
{{- $type := .clientType | default "standalone" -}}
{{- if eq $type "standalone" }}
{{- (.standalone | default dict).connectionUrl }}
{{- else }}
{{- $servers := get . $type | default dict -}}
{{- $urls := $servers.connectionUrls | default list -}}
{{- if kindIs "string" $urls }}{{ $urls = splitList "," $urls }}{{ end -}}
{{- $hosts := list -}}
{{- range $urls }}{{ $hosts = append $hosts (regexReplaceAll "^\\s*rediss?://|/[0-9]*\\s*$" . "") }}{{ end -}}
{{- $scheme := ternary "rediss" "redis" (contains "rediss://" (join "," $urls)) -}}
{{- if $hosts }}{{ printf "%s+%s://%s" $scheme $type (join "," $hosts) }}{{ with $servers.masterName }}/{{ . }}{{ end }}{{ end }}
{{- end }}
{{- end }}

{{/* An env entry with the password of the store. */}}
{{- define "gatehouse.storeEnv" -}}
{{- with include "gatehouse.store" . | fromYaml }}
{{- if .secret }}
- name: GATEHOUSE_SESSION_REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails on values of the store that contradict each other, and says what to write instead. */}}
{{- define "gatehouse.refuseStore" -}}
{{- $redis := .values.redis | default dict -}}
{{- $storage := .values.sessionStorage | default dict -}}
{{- $given := $storage.redis | default dict -}}
{{- $url := (include "gatehouse.store" . | fromYaml).url -}}
{{- $written := ((.values.config | default dict).session | default dict).store -}}
{{- if and $url $written }}
{{- fail (printf "%s and config.session.store both say where sessions are stored: keep one of them" ($redis.enabled | ternary "redis.enabled" "sessionStorage")) }}
{{- end -}}
{{- if and $redis.enabled (include "gatehouse.storeUrl" $given) }}
{{- fail "redis.enabled and sessionStorage.redis both say where sessions are stored: keep one of them" }}
{{- end -}}
{{- if and $redis.enabled $given.existingSecret (ne $given.existingSecret (($redis.auth | default dict).existingSecret | default "")) }}
{{- fail "sessionStorage.redis.existingSecret is for a Redis outside this release: write redis.auth.existingSecret" }}
{{- end -}}
{{- if and $redis.enabled (ne (include "gatehouse.namespace" .) .root.Release.Namespace) }}
{{- fail "redis.enabled is for the namespace of the release: leave namespaceOverride out, or use a Redis outside this release" }}
{{- end -}}
{{- if and (eq ($storage.type | default "cookie") "redis") (not $url) (not $written) (not .values.existingConfig) }}
{{- fail "sessionStorage.type: redis names no Redis: write redis.enabled: true, or sessionStorage.redis.standalone.connectionUrl: rediss://HOST:6379" }}
{{- end -}}
{{- if and (contains "+sentinel:" ($url | default "")) (not ($given.sentinel | default dict).masterName) }}
{{- fail "sessionStorage.redis.sentinel.masterName is missing: write the name of the master that the sentinels watch" }}
{{- end -}}
{{- end }}
