{{/* The values of the ServiceMonitor, as YAML. metrics.serviceMonitor is the name in the chart of oauth2-proxy. */}}
{{- define "gatehouse.serviceMonitor" -}}
{{- $metrics := .values.metrics | default dict -}}
{{- $monitor := mergeOverwrite (deepCopy (.values.serviceMonitor | default dict)) (deepCopy ($metrics.serviceMonitor | default dict)) -}}
{{- if eq (toString $metrics.enabled) "false" }}{{ $_ := set $monitor "enabled" false }}{{ end -}}
{{- $monitor | toYaml }}
{{- end }}

{{/* The metadata of an object for a monitoring system, called with (dict "context" $context "object" VALUES). */}}
{{- define "gatehouse.monitoringMetadata" -}}
{{- $labels := include "gatehouse.labels" .context | fromYaml -}}
{{- with .object.prometheusInstance }}{{ $_ := set $labels "prometheus" . }}{{ end -}}
name: {{ .name | default (include "gatehouse.fullname" .context) | quote }}
namespace: {{ .object.namespace | default (include "gatehouse.namespace" .context) | quote }}
labels:
  {{- mergeOverwrite $labels (deepCopy (.object.labels | default dict)) | toYaml | nindent 2 }}
{{- with .object.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The members that an endpoint of a ServiceMonitor shares with that of a PodMonitor. */}}
{{- define "gatehouse.scrape" -}}
port: admin
path: /metrics
{{- range $key := list "interval" "scrapeTimeout" "scheme" "bearerTokenFile" "tlsConfig" "metricRelabelings" }}
{{- with get $ $key }}
{{ dict $key . | toYaml }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails on values of monitors that contradict each other. */}}
{{- define "gatehouse.refuseMonitoring" -}}
{{- $values := .values -}}
{{- $service := (include "gatehouse.serviceMonitor" . | fromYaml).enabled -}}
{{- $pod := ($values.podMonitor | default dict).enabled -}}
{{- $given := $service | ternary "serviceMonitor" "podMonitor" -}}
{{- if and $service (eq ($values.mode | default "proxy") "sidecar") }}
{{- fail "serviceMonitor is for mode: proxy; a sidecar has no Service of its own: write podMonitor.enabled: true" }}
{{- end -}}
{{- if and $service $pod }}
{{- fail "serviceMonitor and podMonitor would scrape each gateway twice: keep one of them" }}
{{- end -}}
{{- if and (or $service $pod) (eq (include "gatehouse.probes" .) "exec") }}
{{- fail (printf "%s needs the admin listener on the pod's address: write probes.type: http" $given) }}
{{- end -}}
{{- with ($values.metrics | default dict).port }}
{{- if ne (include "gatehouse.adminPort" $) (toString .) }}
{{- fail (printf "metrics.port: %v is not the port of config.admin.listen: leave one of them out" .) }}
{{- end -}}
{{- end -}}
{{- end }}
