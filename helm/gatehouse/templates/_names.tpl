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

{{- define "gatehouse.namespace" -}}
{{- .values.namespaceOverride | default .root.Release.Namespace }}
{{- end }}

{{- define "gatehouse.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gatehouse.name" . | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end }}

{{/* The labels of the pod of `helm test`, which no Service selects. */}}
{{- define "gatehouse.testLabels" -}}
app.kubernetes.io/name: {{ printf "%s-test" (include "gatehouse.name" . | trunc 58 | trimSuffix "-") }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
{{- end }}

{{/* The labels of every object. customLabels cannot replace those that Helm and the selectors depend on. */}}
{{- define "gatehouse.labels" -}}
{{- $chart := printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $labels := dict "helm.sh/chart" $chart "app.kubernetes.io/version" (include "gatehouse.appVersion" .) "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- merge $labels (include "gatehouse.selectorLabels" . | fromYaml) (.values.customLabels | default dict) | toYaml }}
{{- end }}

{{/* The metadata of an object: (list CONTEXT NAME LABELS ANNOTATIONS). */}}
{{- define "gatehouse.metadata" -}}
{{- $context := index . 0 -}}
name: {{ index . 1 | quote }}
namespace: {{ include "gatehouse.namespace" $context | quote }}
labels:
  {{- mergeOverwrite (include "gatehouse.labels" $context | fromYaml) (index . 2 | default dict) | toYaml | nindent 2 }}
{{- with index . 3 }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "gatehouse.serviceAccountName" -}}
{{- $account := .values.serviceAccount | default dict -}}
{{- if $account.enabled }}{{ $account.name | default (include "gatehouse.fullname" .) }}{{ else }}{{ $account.name | default "default" }}{{ end }}
{{- end }}

{{/* A registry replaces the registry in the repository. */}}
{{- define "gatehouse.image" -}}
{{- $image := .values.image | default dict -}}
{{- $repository := $image.repository | default "gatehouse" -}}
{{- with $image.registry | default (.values.global | default dict).imageRegistry }}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") }}
{{- end -}}
{{- if $image.digest }}{{ printf "%s@%s" $repository $image.digest }}{{ else }}{{ printf "%s:%s" $repository ($image.tag | default (include "gatehouse.appVersion" .)) }}{{ end }}
{{- end }}

{{/* The imagePullSecrets of pods: a Secret is named by a text, or by a map with its name. */}}
{{- define "gatehouse.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat ((.values.global | default dict).imagePullSecrets | default list) (.values.imagePullSecrets | default list) }}
{{- $names = append $names (kindIs "map" . | ternary . (dict "name" .)) }}
{{- end -}}
{{- with uniq $names }}{{ toYaml . }}{{ end }}
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
