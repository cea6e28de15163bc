{{/* Both templates take (dict "root" $ "values" VALUES): the gateway's templates call them with the values of this chart. */}}

{{- define "gatehouse.redis.fullname" -}}
{{- if .values.fullnameOverride }}
{{- .values.fullnameOverride }}
{{- else if contains "gatehouse" .root.Release.Name }}
{{- printf "%s-redis" (.root.Release.Name | trunc 46 | trimSuffix "-") }}
{{- else }}
{{- printf "%s-gatehouse-redis" (.root.Release.Name | trunc 36 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{- define "gatehouse.redis.selectorLabels" -}}
app.kubernetes.io/name: redis
app.kubernetes.io/instance: {{ include "gatehouse.redis.fullname" . }}
{{- end }}

{{- define "gatehouse.redis.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{ include "gatehouse.redis.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}
