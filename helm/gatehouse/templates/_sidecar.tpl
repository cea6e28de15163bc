{{/*
Templates for the pods of an application's own chart, each called with (dict "root" $ "values" .Values.gatehouse):
  gatehouse.sidecar              an item of initContainers
  gatehouse.sidecar.volumes      items of volumes
  gatehouse.sidecar.annotations  annotations of the pod
  gatehouse.sidecar.labels       labels of the pod, by which podMonitor finds it
The sidecar starts before the application's containers and stops after them (an init container with restartPolicy: Always).
*/}}
{{- define "gatehouse.sidecar" -}}
{{- $values := mustMergeOverwrite (dict) (deepCopy .values) (dict "mode" "sidecar") -}}
{{- $context := dict "root" .root "values" $values -}}
{{- include "gatehouse.refuse" $context -}}
- {{ include "gatehouse.container" $context | nindent 2 | trim }}
  restartPolicy: Always
{{- end }}

{{- define "gatehouse.sidecar.volumes" -}}
{{- include "gatehouse.volumes" . }}
{{- end }}

{{- define "gatehouse.sidecar.annotations" -}}
{{- include "gatehouse.annotations" . }}
{{- end }}

{{- define "gatehouse.sidecar.labels" -}}
gatehouse-sidecar: {{ include "gatehouse.fullname" . }}
{{- end }}
