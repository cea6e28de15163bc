{{/* All templates but the manifests take (dict "root" $ "values" VALUES): a chart that includes the sidecar has other values. */}}

{{- define "gatehouse.name" -}}
{{- .values.nameOverride | default "gatehouse" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The chart's appVersion, also where the root is another chart's. */}}
{{- define "gatehouse.appVersion" -}}
0.1.0
{{- end }}

{{/* The same for the subchart and for the chart that includes the sidecar: it does not depend on a chart's name. */}}
{{- define "gatehouse.fullname" -}}
{{- $name := include "gatehouse.name" . -}}
{{- if .values.fullnameOverride }}
{{- .values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .root.Release.Name }}
{{- .root.Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .root.Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "gatehouse.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gatehouse.name" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "gatehouse.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "gatehouse.selectorLabels" . }}
app.kubernetes.io/version: {{ include "gatehouse.appVersion" . | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "gatehouse.serviceAccountName" -}}
{{- $account := .values.serviceAccount | default dict -}}
{{- if $account.create }}{{ $account.name | default (include "gatehouse.fullname" .) }}{{ else }}{{ $account.name | default "default" }}{{ end }}
{{- end }}

{{/* The hosts of config.publicUrl, as a JSON list. */}}
{{- define "gatehouse.hosts" -}}
{{- $config := .values.config | default dict -}}
{{- $urls := $config.publicUrl | default list -}}
{{- if kindIs "string" $urls }}{{ $urls = list $urls }}{{ end -}}
{{- $hosts := list -}}
{{- range $urls }}
{{- if not (contains "${" .) }}{{ $hosts = append $hosts (regexReplaceAll ":[0-9]+$" (urlParse .).host "") }}{{ end }}
{{- end -}}
{{- $hosts | uniq | toJson }}
{{- end }}
