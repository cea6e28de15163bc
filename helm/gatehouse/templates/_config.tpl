{{/* The gateway's configuration: the defaults that the pod needs, overridden by .values.config. */}}
{{- define "gatehouse.config" -}}
{{- $values := .values -}}
{{- $config := deepCopy ($values.config | default dict) -}}
{{- $pod := dict "listen" (printf "0.0.0.0:%v" ($values.containerPort | default 8080)) "shutdown" (dict "wait" "5s") -}}
{{- if ne (include "gatehouse.probes" .) "exec" }}
{{- $_ := set $pod "admin" (dict "listen" (printf "0.0.0.0:%v" (($values.metrics | default dict).port | default 9090))) }}
{{- end -}}
{{- with $values.forwardAuth }}{{ if .enabled }}
{{- $_ := set $pod "forwardAuth" (dict "listen" (printf "0.0.0.0:%v" (.port | default 8081))) }}
{{- end }}{{ end -}}
{{- with $values.upstreamService }}{{ if .name }}
{{- $host := ternary (printf "%s.%s.svc" .name .namespace) .name (not (empty .namespace)) }}
{{- $_ := set $pod "upstream" (printf "%s://%s:%v" (.scheme | default "http") $host (.port | default 80)) }}
{{- end }}{{ end -}}
{{- with (include "gatehouse.store" . | fromYaml).url }}
{{- $_ := set $pod "session" (dict "store" .) }}
{{- with $config.session }}{{ if kindIs "invalid" .store }}{{ $_ := unset . "store" }}{{ end }}{{ end }}
{{- end -}}
{{- if kindIs "bool" $config.admin }}{{ $_ := unset $pod "admin" }}{{ end -}}
{{- mergeOverwrite $pod $config | toYaml }}
{{- end }}

{{- define "gatehouse.probes" -}}
{{- (.values.probes | default dict).type | default "http" }}
{{- end }}

{{/* The port of host:port. */}}
{{- define "gatehouse.port" -}}
{{- regexFind ":[0-9]+$" (toString .) | trimPrefix ":" }}
{{- end }}

{{- define "gatehouse.httpPort" -}}
{{- include "gatehouse.port" (include "gatehouse.config" . | fromYaml).listen }}
{{- end }}

{{/* The port of the listener that redirects to https, if other pods can reach it. */}}
{{- define "gatehouse.redirectPort" -}}
{{- $at := ((.values.config | default dict).tls | default dict).redirectFrom | default "" -}}
{{- if not (regexMatch "^(unix:|127\\.|localhost:|\\[::1\\])" $at) }}{{ include "gatehouse.port" $at }}{{ end }}
{{- end }}

{{- define "gatehouse.adminPort" -}}
{{- $config := include "gatehouse.config" . | fromYaml -}}
{{- if kindIs "map" $config.admin }}{{ include "gatehouse.port" ($config.admin.listen | default "127.0.0.1:9090") }}{{ end }}
{{- end }}

{{/* The name of the forward-auth listener's Service. */}}
{{- define "gatehouse.forwardAuthName" -}}
{{- printf "%s-forward-auth" (include "gatehouse.fullname" . | trunc 50 | trimSuffix "-") }}
{{- end }}

{{/* The path of the Ingress and the HTTPRoute: /, or basePath alone if another proxy forwards the traffic. */}}
{{- define "gatehouse.publicPath" -}}
{{- $forwardAuth := .values.forwardAuth | default dict -}}
{{- $config := .values.config | default dict -}}
{{- $forwardAuth.enabled | ternary ($config.basePath | default "/oauth2") "/" }}
{{- end }}

{{/* Pod annotations. The checksum makes Kubernetes replace the pods when the configuration changes. */}}
{{- define "gatehouse.annotations" -}}
{{- if not .values.existingConfig -}}
checksum/config: {{ include "gatehouse.config" . | sha256sum }}
{{- end }}
{{- end }}

{{/* Not empty if there is a PodDisruptionBudget: one that never lets a pod go would stop each drain of a node. */}}
{{- define "gatehouse.hasDisruptionBudget" -}}
{{- $pods := .values.autoscaling.enabled | ternary .values.autoscaling.minReplicas .values.replicaCount -}}
{{- $least := toString .values.podDisruptionBudget.minAvailable -}}
{{- if and .values.podDisruptionBudget.enabled (not (and (regexMatch "^[1-9][0-9]*$" $least) (ge (int $least) (int $pods)))) }}yes{{ end }}
{{- end }}
