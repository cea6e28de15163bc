{{/* Each template takes (dict "root" $ "values" VALUES): the gateway's templates call them with the values of this chart. */}}

{{- define "gatehouse.redis.fullname" -}}
{{- if .values.fullnameOverride }}
{{- tpl .values.fullnameOverride .root }}
{{- else if contains "gatehouse" .root.Release.Name }}
{{- printf "%s-redis" (.root.Release.Name | trunc 46 | trimSuffix "-") }}
{{- else }}
{{- printf "%s-gatehouse-redis" (.root.Release.Name | trunc 36 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{/* The Secret with the password, and the key of the password in it, as YAML. */}}
{{- define "gatehouse.redis.secret" -}}
{{- $auth := .values.auth | default dict -}}
secret: {{ tpl ($auth.existingSecret | default "") .root | default (include "gatehouse.redis.fullname" .) | quote }}
key: {{ tpl ($auth.existingSecretPasswordKey | default "redis-password") .root | quote }}
{{- end }}

{{- define "gatehouse.redis.selectorLabels" -}}
app.kubernetes.io/name: redis
app.kubernetes.io/instance: {{ include "gatehouse.redis.fullname" . | quote }}
{{- end }}

{{- define "gatehouse.redis.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{ include "gatehouse.redis.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}
