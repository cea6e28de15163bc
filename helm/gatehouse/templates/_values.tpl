{{/*
Every other named template takes a context that this template has completed: (dict "root" $ "values" VALUES), because an
application's chart keeps the values of this chart in a subkey. "values" becomes a copy in which texts that refer to the
release are rendered and each setting has one name. "enabled" and "proxy" say what the release consists of.
*/}}
{{- define "gatehouse.prepare" -}}
{{- $values := deepCopy .values -}}
{{- if contains "{{" (toJson $values) }}
{{- /* With root and values, {{ include "gatehouse.fullname" . }} works in values. */}}
{{- $own := set (set (set (omit .root "Values") "Values" .values) "values" .values) "root" .root }}
{{- include "gatehouse.evaluate" (dict "root" $own "in" $values) }}
{{- end -}}
{{- /* A section or a key that is null has its default, and a section with `enabled` is off. */}}
{{- $off := dict "enabled" false }}
{{- range $name, $defaults := dict "autoscaling" $off "forwardAuth" (dict "enabled" false "port" 8081) "ingress" (dict "enabled" false "pathType" "Prefix") "networkPolicy" $off "podDisruptionBudget" (dict "enabled" false "maxUnavailable" 1) "podMonitor" $off "service" (dict "type" "ClusterIP" "portNumber" 80 "ipDualStack" $off) "serviceAccount" (dict "enabled" false "automountServiceAccountToken" false) "serviceMonitor" $off }}
{{- $given := get $values $name | default dict }}
{{- range $key, $default := $defaults }}
{{- if or (not (hasKey $given $key)) (kindIs "invalid" (get $given $key)) }}{{ $_ := set $given $key $default }}{{ end }}
{{- end }}
{{- $_ := set $values $name $given }}
{{- end -}}
{{- if not $values.httpScheme }}{{ $_ := set $values "httpScheme" "http" }}{{ end -}}
{{- $_ := set . "values" $values -}}
{{- $_ := set . "enabled" (ne (toString $values.enabled) "false") -}}
{{- $_ := set . "proxy" (and .enabled (eq ($values.mode | default "proxy") "proxy")) -}}

{{- with $values.config }}
{{- with .existingConfig }}{{ $_ := set $values "existingConfig" . }}{{ end }}
{{- with .annotations }}{{ $_ := set $values "configMapAnnotations" . }}{{ end }}
{{- $_ := set $values "config" (omit . "existingConfig" "annotations") }}
{{- end -}}
{{- if ($values.config | default dict).tls }}{{ $_ := set $values "httpScheme" "https" }}{{ end -}}
{{- with $values.service }}{{ with .port }}{{ $_ := set $values.service "portNumber" . }}{{ end }}{{ end -}}
{{- with $values.serviceAccount }}{{ if kindIs "bool" .create }}{{ $_ := set . "enabled" .create }}{{ end }}{{ end -}}
{{- with $values.networkPolicy }}{{ $_ := set . "enabled" (or .enabled .create | default false) }}{{ end -}}
{{- $_ := set . "route" (empty $values.httpRoute | ternary "gatewayApi" "httpRoute") -}}
{{- $_ := set $values "gatewayApi" (mergeOverwrite (dict) ($values.gatewayApi | default dict) ($values.httpRoute | default dict)) -}}
{{- end }}

{{/*
Renders the texts in .in that refer to the release: those with .Values, .Release, .Chart, .Capabilities or include in an
action. Other texts keep their braces, because the gateway's pages, annotations of Vault and templates of External
Secrets have actions too.
*/}}
{{- define "gatehouse.evaluate" -}}
{{- $root := .root -}}
{{- $in := .in -}}
{{- range $key, $value := $in }}
{{- if kindIs "string" $value }}
{{- if regexMatch "\\{\\{(-|[^{}]*[\\s(])?\\$?(\\.(Values|Release|Chart|Capabilities)\\b|include\\s)" $value }}
{{- $_ := set $in $key (tpl $value $root) }}
{{- end }}
{{- else if kindIs "map" $value }}
{{- include "gatehouse.evaluate" (dict "root" $root "in" $value) }}
{{- else if kindIs "slice" $value }}
{{- $items := list }}
{{- range $value }}
{{- $item := dict "item" . }}
{{- include "gatehouse.evaluate" (dict "root" $root "in" $item) }}
{{- $items = append $items $item.item }}
{{- end }}
{{- $_ := set $in $key $items }}
{{- end }}
{{- end }}
{{- end }}
