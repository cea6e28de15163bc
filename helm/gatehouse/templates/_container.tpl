{{/* The gateway's container, without the leading dash of a list item. */}}
{{- define "gatehouse.container" -}}
{{- $values := .values -}}
{{- $image := $values.image | default dict -}}
{{- $http := include "gatehouse.httpPort" . -}}
{{- $admin := include "gatehouse.adminPort" . -}}
{{- $exec := eq (include "gatehouse.probes" .) "exec" -}}
name: gatehouse
image: {{ include "gatehouse.image" . | quote }}
imagePullPolicy: {{ $image.pullPolicy | default "IfNotPresent" }}
{{- with $image.command }}
command:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or $image.command $values.extraArgs }}
args:
  - start
  {{- range include "gatehouse.extraArgs" . | fromJsonArray }}
  - {{ . | quote }}
  {{- end }}
{{- end }}
{{- with $values.lifecycle }}
lifecycle:
  {{- toYaml . | nindent 2 }}
{{- end }}
env:
  - name: GATEHOUSE_CONFIG
    value: /etc/gatehouse/gatehouse.yaml
  {{- if $values.existingConfig }}
  {{- $config := include "gatehouse.config" . | fromYaml }}
  {{- range $name, $value := dict "LISTEN" $config.listen "UPSTREAM" $config.upstream "SHUTDOWN_WAIT" $config.shutdown.wait "ADMIN_LISTEN" ($config.admin | default dict).listen "FORWARD_AUTH_LISTEN" ($config.forwardAuth | default dict).listen "SESSION_STORE" ($config.session | default dict).store }}
  {{- with $value }}
  - name: GATEHOUSE_{{ $name }}
    value: {{ . | quote }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with include "gatehouse.storeEnv" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or $values.existingSecret $values.envFrom }}
envFrom:
  {{- with $values.existingSecret }}
  - secretRef:
      name: {{ . | quote }}
  {{- end }}
  {{- with $values.envFrom }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
ports:
  {{- if $http }}
  - name: http
    containerPort: {{ $http }}
    protocol: TCP
  {{- end }}
  {{- with include "gatehouse.redirectPort" . }}
  - name: redirect
    containerPort: {{ . }}
    protocol: TCP
  {{- end }}
  {{- if and $admin (not $exec) }}
  - name: admin
    containerPort: {{ $admin }}
    protocol: TCP
  {{- end }}
  {{- with $values.forwardAuth }}{{ if .enabled }}
  - name: forward-auth
    containerPort: {{ .port | default 8081 }}
    protocol: TCP
  {{- end }}{{ end }}
{{- include "gatehouse.probe" (list . "startupProbe" "/livez" (dict "periodSeconds" 1 "failureThreshold" 60)) }}
{{- include "gatehouse.probe" (list . "livenessProbe" "/livez" (dict "periodSeconds" 20 "failureThreshold" 3)) }}
{{- include "gatehouse.probe" (list . "readinessProbe" "/readyz" (dict "periodSeconds" ($exec | ternary 15 5) "failureThreshold" 2)) }}
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.resizePolicy }}
resizePolicy:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $restricted := dict "allowPrivilegeEscalation" false "capabilities" (dict "drop" (list "ALL")) "readOnlyRootFilesystem" true "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") }}
{{- $security := $values.securityContext | default $restricted }}
{{- if ne (toString $security.enabled) "false" }}
securityContext:
  {{- toYaml (omit $security "enabled") | nindent 2 }}
{{- end }}
volumeMounts:
  - name: {{ include "gatehouse.volumeName" . }}
    mountPath: /etc/gatehouse
    readOnly: true
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* extraArgs as a JSON list. A map has the names of options without their dashes. */}}
{{- define "gatehouse.extraArgs" -}}
{{- $given := .values.extraArgs | default list -}}
{{- $list := list -}}
{{- if kindIs "map" $given }}
{{- range $name, $value := $given }}{{ $list = append $list (kindIs "invalid" $value | ternary (printf "--%s" $name) (printf "--%s=%v" $name $value)) }}{{ end }}
{{- else }}
{{- range $given }}{{ $list = append $list (toString .) }}{{ end }}
{{- end -}}
{{- toJson $list }}
{{- end }}

{{/* A probe: (list CONTEXT NAME PATH DEFAULTS). */}}
{{- define "gatehouse.probe" -}}
{{- $context := index . 0 -}}
{{- $name := index . 1 -}}
{{- $given := get $context.values $name | default dict -}}
{{- if ne (toString $given.enabled) "false" }}
{{ $name }}:
  {{- if eq (include "gatehouse.probes" $context) "exec" }}
  exec: { command: [node, /opt/gatehouse/dist/main.js, health{{ if eq $name "readinessProbe" }}, --ready{{ end }}] }
  {{- else }}
  httpGet: { path: {{ index . 2 }}, port: admin }
  {{- end }}
  {{- merge (dict) (omit $given "enabled") (index . 3) (dict "timeoutSeconds" 5) | toYaml | nindent 2 }}
{{- end }}
{{- end }}

{{- define "gatehouse.volumeName" -}}
gatehouse-config
{{- end }}

{{- define "gatehouse.volumes" -}}
- name: {{ include "gatehouse.volumeName" . }}
  configMap:
    name: {{ .values.existingConfig | default (include "gatehouse.fullname" .) | quote }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
