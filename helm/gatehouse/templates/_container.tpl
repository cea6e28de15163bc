{{/* The gateway's container, without the leading dash of a list item. */}}
{{- define "gatehouse.container" -}}
{{- $values := .values -}}
{{- $image := $values.image | default dict -}}
{{- $http := include "gatehouse.httpPort" . -}}
{{- $admin := include "gatehouse.adminPort" . -}}
{{- $exec := eq (include "gatehouse.probes" .) "exec" -}}
name: gatehouse
{{- if $image.digest }}
image: {{ printf "%s@%s" ($image.repository | default "gatehouse") $image.digest | quote }}
{{- else }}
image: {{ printf "%s:%s" ($image.repository | default "gatehouse") ($image.tag | default (include "gatehouse.appVersion" .)) | quote }}
{{- end }}
imagePullPolicy: {{ $image.pullPolicy | default "IfNotPresent" }}
env:
  - name: GATEHOUSE_CONFIG
    value: /etc/gatehouse/gatehouse.yaml
  {{- with include "gatehouse.storeEnv" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with $values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.existingSecret }}
envFrom:
  - secretRef:
      name: {{ . }}
{{- end }}
ports:
  {{- if $http }}
  - name: http
    containerPort: {{ $http }}
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
startupProbe:
  {{- if $exec }}
  exec: { command: [node, /opt/gatehouse/dist/main.js, health] }
  {{- else }}
  httpGet: { path: /livez, port: admin }
  {{- end }}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  {{- if $exec }}
  exec: { command: [node, /opt/gatehouse/dist/main.js, health] }
  {{- else }}
  httpGet: { path: /livez, port: admin }
  {{- end }}
  periodSeconds: 20
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  {{- if $exec }}
  exec: { command: [node, /opt/gatehouse/dist/main.js, health, --ready] }
  {{- else }}
  httpGet: { path: /readyz, port: admin }
  {{- end }}
  periodSeconds: {{ $exec | ternary 15 5 }}
  timeoutSeconds: 5
  failureThreshold: 2
{{- with $values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- $restricted := dict "allowPrivilegeEscalation" false "capabilities" (dict "drop" (list "ALL")) "readOnlyRootFilesystem" true "runAsNonRoot" true "runAsUser" 65532 "runAsGroup" 65532 "seccompProfile" (dict "type" "RuntimeDefault") }}
  {{- toYaml ($values.securityContext | default $restricted) | nindent 2 }}
volumeMounts:
  - name: {{ include "gatehouse.volumeName" . }}
    mountPath: /etc/gatehouse
    readOnly: true
  {{- with $values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "gatehouse.volumeName" -}}
gatehouse-config
{{- end }}

{{- define "gatehouse.volumes" -}}
- name: {{ include "gatehouse.volumeName" . }}
  configMap:
    name: {{ include "gatehouse.fullname" . }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
