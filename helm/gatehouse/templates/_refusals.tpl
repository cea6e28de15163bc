{{/* Fails on values that contradict each other, or that put a secret into the ConfigMap, and says what to write instead. */}}
{{- define "gatehouse.refuse" -}}
{{- $values := .values -}}
{{- $config := $values.config | default dict -}}
{{- $session := $config.session | default dict -}}
{{- $providers := dict "config.provider" ($config.provider | default dict) -}}
{{- range $name, $provider := ($config.providers | default dict) }}
{{- $_ := set $providers (printf "config.providers.%s" $name) ($provider | default dict) }}
{{- end -}}
{{- $service := $values.upstreamService | default dict -}}
{{- $sidecar := eq ($values.mode | default "proxy") "sidecar" -}}
{{- $admin := kindIs "map" $config.admin | ternary $config.admin dict -}}
{{- $assertion := $config.assertion | default dict -}}
{{- $administrators := kindIs "map" $admin.sessions | ternary $admin.sessions dict -}}
{{- $autoscaling := $values.autoscaling | default dict -}}
{{- $forwardAuth := $values.forwardAuth | default dict -}}

{{- $written := dict "config.admin.sessions.token" $administrators.token "config.session.redis.password" (($session.redis | default dict).password) -}}
{{- range $index, $key := (kindIs "slice" $session.keys | ternary $session.keys (list $session.keys)) }}
{{- $_ := set $written (printf "config.session.keys[%d]" $index) $key }}
{{- end -}}
{{- range $index, $key := (kindIs "slice" $assertion.keys | ternary $assertion.keys (list $assertion.keys)) }}
{{- $_ := set $written (printf "config.assertion.keys[%d]" $index) $key }}
{{- end -}}
{{- $urls := dict -}}
{{- range $path, $provider := $providers }}
{{- $_ := set $written (printf "%s.clientSecret" $path) $provider.clientSecret }}
{{- $_ := set $written (printf "%s.privateKey" $path) $provider.privateKey }}
{{- range $index, $key := (kindIs "slice" $provider.idTokenKeys | ternary $provider.idTokenKeys (list $provider.idTokenKeys)) }}
{{- $_ := set $written (printf "%s.idTokenKeys[%d]" $path $index) $key }}
{{- end }}
{{- $_ := set $urls (printf "%s.proxy" $path) (dict "url" $provider.proxy "write" "PROXY_URL") }}
{{- end -}}
{{- range $path, $value := $written }}
{{- if and $value (not (contains "${" (toString $value))) }}
{{- fail (printf "%s is a secret, and a ConfigMap is no place for it: put it into the Secret that existingSecret names, and write ${NAME} here" $path) }}
{{- end }}
{{- end -}}
{{- include "gatehouse.refuseStore" . -}}
{{- $effective := include "gatehouse.config" . | fromYaml -}}
{{- $store := ($effective.session | default dict).store | default "memory:" -}}
{{- range $path, $one := set $urls "config.session.store" (dict "url" $store "write" "REDIS_URL") }}
{{- /* All up to the last @, because a password that was not encoded can contain any character. */}}
{{- $user := regexFind "://.*@" (toString $one.url) }}
{{- if and (regexMatch "://[^:]*:." $user) (not (contains "${" $user)) }}
{{- fail (printf "%s has a password in it, and a ConfigMap is no place for that: write ${%s}, and put %s into the Secret that existingSecret names" $path $one.write $one.write) }}
{{- end }}
{{- end -}}

{{- $several := and (not $sidecar) (or $autoscaling.enabled (gt (int $values.replicaCount) 1)) -}}
{{- $given := $autoscaling.enabled | ternary "autoscaling" "replicaCount above 1" -}}
{{- if and $several (hasPrefix "memory" $store) (not $values.existingConfig) }}
{{- fail (printf "%s needs a store that all replicas share: write config.session.store: rediss://HOST:6379, or ${REDIS_URL} with REDIS_URL in the Secret that existingSecret names, or redis.enabled: true; the memory store is for replicaCount: 1" $given) }}
{{- end -}}
{{- if and $several (not $session.keys) (not $values.existingSecret) (not $values.envFrom) (not $values.existingConfig) (not (contains "GATEHOUSE_SESSION_KEYS" (toJson $values.extraEnv))) }}
{{- fail (printf "%s needs session keys that all replicas share: put GATEHOUSE_SESSION_KEYS into a Secret and name it with existingSecret" $given) }}
{{- end -}}
{{- if and (not $sidecar) (kindIs "string" $config.listen) (hasPrefix "unix:" $config.listen) }}
{{- fail "config.listen is a Unix socket, which no Service reaches: write 0.0.0.0:8080, or leave it out" }}
{{- end -}}
{{- range $key, $listen := dict "config.listen" $config.listen "config.admin.listen" $admin.listen }}
{{- if and $listen (not (regexMatch "^unix:|.:[0-9]+$" (toString $listen))) }}
{{- fail (printf "%s: %v is no address with a port that the chart can read: write 0.0.0.0:%s, or leave it out" $key $listen (eq $key "config.listen" | ternary "8080" "9090")) }}
{{- end }}
{{- end -}}

{{- $ports := list (include "gatehouse.httpPort" .) (include "gatehouse.adminPort" .) (include "gatehouse.redirectPort" .) -}}
{{- if $forwardAuth.enabled }}{{ $ports = append $ports (toString $forwardAuth.port) }}{{ end -}}
{{- $ports = compact $ports -}}
{{- if ne (len $ports) (len (uniq $ports)) }}
{{- fail (printf "two listeners have the same port (%s): change containerPort, metrics.port, forwardAuth.port or config.tls.redirectFrom" (join ", " $ports)) }}
{{- end -}}

{{- if and $service.name $config.upstream }}
{{- fail "upstreamService.name and config.upstream both say what is protected: keep one of them" }}
{{- end -}}
{{- if and $sidecar $service.name }}
{{- fail "upstreamService is for mode: proxy; a sidecar's application is in the same pod: write config.upstream: http://127.0.0.1:PORT" }}
{{- end -}}
{{- if $sidecar }}
{{- $useless := list -}}
{{- range $key := list "autoscaling" "ingress" "gatewayApi" "podDisruptionBudget" "networkPolicy" }}
{{- if (get $values $key | default dict).enabled }}{{ $useless = append $useless (eq $key "gatewayApi" | ternary $.route $key) }}{{ end }}
{{- end }}
{{- range $key := list "affinity" "deploymentAnnotations" "deploymentLabels" "dnsConfig" "dnsPolicy" "extraContainers" "extraInitContainers" "hostAliases" "imagePullSecrets" "nodeSelector" "podAnnotations" "podLabels" "priorityClassName" "runtimeClassName" "strategy" "tolerations" }}
{{- if get $values $key }}{{ $useless = append $useless $key }}{{ end }}
{{- end }}
{{- if $useless }}
{{- fail (printf "mode: sidecar makes the ConfigMap only: %s %s to the application's chart" (join ", " $useless) (eq (len $useless) 1 | ternary "belongs" "belong")) }}
{{- end }}
{{- end -}}

{{- if and $values.existingConfig $config }}
{{- fail "existingConfig and config both hold the configuration: keep one of them" }}
{{- end -}}
{{- with $values.kubeVersion }}
{{- if semverCompare "<1.29.0-0" . }}
{{- fail (printf "kubeVersion: %s is too old: the chart needs Kubernetes 1.29, which has native sidecars" .) }}
{{- end }}
{{- end -}}
{{- if and (eq ($values.httpScheme | default "http") "https") (not $config.tls) (not $values.existingConfig) }}
{{- fail "httpScheme: https needs a certificate: write config.tls: { certFile: PATH, keyFile: PATH }, and mount the files with extraVolumes and extraVolumeMounts" }}
{{- end -}}
{{- if and (include "gatehouse.redirectPort" .) (eq (toString ($values.service | default dict).portNumber) "80") (not $sidecar) }}
{{- fail "config.tls.redirectFrom takes port 80 of the Service: write service.portNumber: 443" }}
{{- end -}}
{{- if and $autoscaling.enabled (not $autoscaling.targetCPUUtilizationPercentage) (not $autoscaling.targetMemoryUtilizationPercentage) }}
{{- fail "autoscaling has no target: write autoscaling.targetCPUUtilizationPercentage" }}
{{- end -}}

{{- if and $sidecar $forwardAuth.enabled }}
{{- fail "forwardAuth is for mode: proxy; a sidecar gives verdicts to a proxy in the same pod: write config.forwardAuth.listen: 127.0.0.1:8081" }}
{{- end -}}
{{- if and (not $sidecar) $config.forwardAuth }}
{{- fail "config.forwardAuth has no Service and no NetworkPolicy: write forwardAuth.enabled: true instead" }}
{{- end -}}
{{- $policy := $values.networkPolicy | default dict -}}
{{- if and $forwardAuth.enabled $policy.enabled (not $policy.forwardAuthFrom) }}
{{- fail "the proxy can't reach the forward-auth listener: write networkPolicy.forwardAuthFrom, the pods of the proxy" }}
{{- end -}}
{{- if and $policy.forwardAuthFrom (not $forwardAuth.enabled) }}
{{- fail "networkPolicy.forwardAuthFrom is for the forward-auth listener: write forwardAuth.enabled: true, or leave it out" }}
{{- end -}}

{{- $exposed := printf "%s%s" (($values.ingress | default dict).extraPaths | toJson) (($values.gatewayApi | default dict).rules | toJson) -}}
{{- if contains (printf "\"%s\"" (include "gatehouse.forwardAuthName" .)) $exposed }}
{{- fail (printf "ingress.extraPaths and gatewayApi.rules must not lead to the Service %s: its responses carry access tokens" (include "gatehouse.forwardAuthName" .)) }}
{{- end -}}
{{- with ($values.service | default dict).targetPort }}
{{- if has (toString .) (list "admin" (include "gatehouse.adminPort" $) "forward-auth" (toString $forwardAuth.port)) }}
{{- fail (printf "service.targetPort: %v is a listener that must not be behind the Service: leave it out" .) }}
{{- end }}
{{- end -}}
{{- if and $policy.ingress $policy.from }}
{{- fail "networkPolicy.ingress and networkPolicy.from both say who may reach the gateway: keep one of them" }}
{{- end -}}

{{- $probes := include "gatehouse.probes" . -}}
{{- if and (eq $probes "http") (kindIs "bool" $config.admin) }}
{{- fail "config.admin: false leaves nothing for the kubelet to ask: leave it out, or write probes.type: exec" }}
{{- end -}}
{{- if and (eq $probes "http") (regexMatch "^(unix:|127\\.|localhost|\\[::1\\])" (toString ($admin.listen | default ""))) }}
{{- fail (printf "config.admin.listen: %s is out of the kubelet's reach: write 0.0.0.0:9090 or leave it out, or write probes.type: exec" $admin.listen) }}
{{- end -}}
{{- include "gatehouse.refuseMonitoring" . -}}
{{- end }}

{{/* Fails on values of oauth2-proxy's chart that this chart does not have, and says for each what to write instead. */}}
{{- define "gatehouse.refuseOauth2Proxy" -}}
{{- $values := .values -}}
{{- $found := list -}}
{{- range $key, $instead := (.root.Files.Get "oauth2-proxy.yaml" | fromYaml).refused }}
{{- $value := $values }}
{{- range splitList "." $key }}
{{- if kindIs "map" $value }}{{ $value = get $value . }}{{ else }}{{ $value = "" }}{{ end }}
{{- end }}
{{- if $value }}{{ $found = append $found (printf "%s: %s" $key $instead) }}{{ end }}
{{- end }}
{{- range include "gatehouse.extraArgs" . | fromJsonArray }}
{{- with regexFind "^--?(client-|cookie-|email-|oidc-|pass-|provider|redirect-url|reverse-proxy|scope|session-|set-|skip-|upstream|whitelist-)[a-z0-9-]*" . }}
{{- $found = append $found (printf "extraArgs %s: `gatehouse migrate` writes config from it" .) }}
{{- end }}
{{- end }}
{{- with $found }}
{{- fail (printf "these values exist only in oauth2-proxy's chart (`gatehouse migrate` reads a whole values file):\n  %s" (join "\n  " .)) }}
{{- end }}
{{- end }}
