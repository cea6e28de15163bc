{{/*
Templates for the pods of an application's own chart, each called with (dict "root" $ "values" .Values.gatehouse):
  gatehouse.sidecar              an item of initContainers
  gatehouse.sidecar.volumes      items of volumes
  gatehouse.sidecar.annotations  annotations of the pod
  gatehouse.sidecar.labels       labels of the pod, by which podMonitor finds it
Each renders nothing with enabled: false. The sidecar starts before the application's containers and stops after them (an
init container with restartPolicy: Always).
*/}}
{{- define "gatehouse.sidecar" -}}
{{- $context := dict "root" .root "values" (set (deepCopy .values) "mode" "sidecar") -}}
{{- include "gatehouse.prepare" $context -}}
{{- if $context.enabled -}}
{{- include "gatehouse.refuse" $context -}}
- {{ include "gatehouse.container" $context | nindent 2 | trim }}
  restartPolicy: Always
{{- end }}
{{- end }}

{{- define "gatehouse.sidecar.volumes" -}}
{{- $context := dict "root" .root "values" .values -}}
{{- include "gatehouse.prepare" $context -}}
{{- if $context.enabled }}{{ include "gatehouse.volumes" $context }}{{ end }}
{{- end }}

{{- define "gatehouse.sidecar.annotations" -}}
{{- $context := dict "root" .root "values" .values -}}
{{- include "gatehouse.prepare" $context -}}
{{- if $context.enabled }}{{ include "gatehouse.annotations" $context }}{{ end }}
{{- end }}

{{- define "gatehouse.sidecar.labels" -}}
{{- $context := dict "root" .root "values" .values -}}
{{- include "gatehouse.prepare" $context -}}
{{- if $context.enabled }}gatehouse-sidecar: {{ include "gatehouse.fullname" $context | quote }}{{ end }}
{{- end }}
