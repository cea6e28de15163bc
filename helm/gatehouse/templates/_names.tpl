{{/* Every named template takes (dict "root" $ "values" VALUES), because an application's chart keeps our values in a subkey. */}}

{{- define "gatehouse.name" -}}
{{- .values.nameOverride | default "gatehouse" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Chart.yaml's appVersion, repeated here because .Chart is another chart when an application's chart includes the sidecar. */}}
{{- define "gatehouse.appVersion" -}}
0.1.0
{{- end }}

{{/* The name does not depend on .Chart, so the subchart and the chart that includes the sidecar get the same name. */}}
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
