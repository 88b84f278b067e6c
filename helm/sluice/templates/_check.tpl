{{/* What the schema cannot say: values that exclude one another, and ranges of durations and sizes. Each message names the value. */}}
{{- define "sluice.check" -}}
{{- include "sluice.checkOptions" . -}}
{{- include "sluice.checkWorkload" . -}}
{{- include "sluice.checkPorts" . -}}
{{- include "sluice.checkService" . -}}
{{- include "sluice.checkScaling" . -}}
{{- include "sluice.checkNames" . -}}
{{- end -}}

{{/* The same ranges as the options file has (controlplane/config/option_table.cpp; tests/helm/options_test.py compares): a file that is refused leaves the
     running Pods with their old options, and new Pods do not start. */}}
{{- define "sluice.checkOptions" -}}
{{- range $key, $text := .Values.timeouts -}}
{{- $least := ternary 0 1 (has $key (list "request" "queueDelay" "drain")) -}}
{{- $given := include "sluice.milliseconds" $text | int64 -}}
{{- if or (lt $given (int64 $least)) (gt $given 86400000) -}}
{{- fail (printf "timeouts.%s: %v is not between %s and 24h" $key $text (ternary "0s" "1ms" (eq $least 0))) -}}
{{- end -}}
{{- end -}}
{{- range $section, $ranges := dict "limits" (dict "headerBytes" (list 1024 1048576) "requestLine" (list 256 65536) "minBodyRate" (list 0 1073741824))
    "http2" (dict "streamWindow" (list 65535 16777216) "connectionWindow" (list 65535 16777216)) -}}
{{- $values := get $.Values $section | default dict -}}
{{- range $key, $range := $ranges -}}
{{- $given := include "sluice.bytes" (get $values $key) | int64 -}}
{{- if and (hasKey $values $key) (or (lt $given (int64 (first $range))) (gt $given (int64 (last $range)))) -}}
{{- fail (printf "%s.%s: %v is not between %d and %d bytes" $section $key (get $values $key) (first $range) (last $range)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluice.checkWorkload" -}}
{{- if eq (int .Values.controlPlane.uid) (int .Values.dataPlane.uid) -}}
{{- fail "controlPlane.uid and dataPlane.uid must differ: whoever broke into the data plane must not be able to read the control plane's memory" -}}
{{- end -}}
{{- if not (or (include "sluice.listens" .Values.listeners.http) (include "sluice.listens" .Values.listeners.https)) -}}
{{- fail "listeners.http and listeners.https are both off: nothing would be served" -}}
{{- end -}}
{{- if not (or .Values.service.enabled .Values.hostPort.enabled) -}}
{{- fail "service.enabled and hostPort.enabled are both false: no client could reach the gateway" -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (eq .Values.kind "Deployment") -}}
{{- if eq (kindIs "invalid" .Values.podDisruptionBudget.minAvailable) (kindIs "invalid" .Values.podDisruptionBudget.maxUnavailable) -}}
{{- fail "podDisruptionBudget: exactly one of minAvailable and maxUnavailable must be set (null clears the other)" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* (dict "used" MAP "what" NAME "port" NUMBER "why" TEXT); nothing and off take none. */}}
{{- define "sluice.takePort" -}}
{{- $port := toString (default "off" .port) -}}
{{- if ne $port "off" -}}
{{- if hasKey .used $port -}}
{{- fail (printf "%s and %s are both %s: %s" (get .used $port) .what $port .why) -}}
{{- end -}}
{{- $_ := set .used $port .what -}}
{{- end -}}
{{- end -}}

{{- define "sluice.checkPorts" -}}
{{- $pod := dict -}}
{{- range $what, $port := dict "listeners.http" .Values.listeners.http "listeners.https" .Values.listeners.https "controlPlane.adminPort" .Values.controlPlane.adminPort "dataPlane.adminPort" .Values.dataPlane.adminPort -}}
{{- include "sluice.takePort" (dict "used" $pod "what" $what "port" $port "why" "the containers share one network") -}}
{{- end -}}
{{- $host := dict -}}
{{- $service := dict -}}
{{- $node := dict -}}
{{- range $name := list "http" "https" -}}
{{- if include "sluice.listens" (get $.Values.listeners $name) -}}
{{- if $.Values.hostPort.enabled -}}
{{- include "sluice.takePort" (dict "used" $host "what" (print "hostPort." $name) "port" (get $.Values.hostPort $name) "why" "a node has each port once") -}}
{{- end -}}
{{- if $.Values.service.enabled -}}
{{- include "sluice.takePort" (dict "used" $service "what" (print "service.ports." $name) "port" (get $.Values.service.ports $name) "why" "a Service has each port once") -}}
{{- include "sluice.takePort" (dict "used" $node "what" (print "service.nodePorts." $name) "port" (get $.Values.service.nodePorts $name) "why" "a node has each port once") -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the API server would refuse after other objects have been made. */}}
{{- define "sluice.checkService" -}}
{{- with .Values.service -}}
{{- if .enabled -}}
{{- if and .externalTrafficPolicy (eq .type "ClusterIP") -}}
{{- fail "service.externalTrafficPolicy needs service.type LoadBalancer or NodePort" -}}
{{- end -}}
{{- if and (eq .type "ClusterIP") (or .nodePorts.http .nodePorts.https) -}}
{{- fail "service.nodePorts needs service.type LoadBalancer or NodePort" -}}
{{- end -}}
{{- if and .nodePorts.healthCheck (not (and (eq .type "LoadBalancer") (eq .externalTrafficPolicy "Local"))) -}}
{{- fail "service.nodePorts.healthCheck needs service.type LoadBalancer and service.externalTrafficPolicy Local" -}}
{{- end -}}
{{- if and (ne .type "LoadBalancer") (or .loadBalancerClass .loadBalancerSourceRanges) -}}
{{- fail "service.loadBalancerClass and service.loadBalancerSourceRanges need service.type LoadBalancer" -}}
{{- end -}}
{{- if and (eq .ipFamilyPolicy "SingleStack") (gt (len .ipFamilies) 1) -}}
{{- fail "service.ipFamilies has two, service.ipFamilyPolicy SingleStack allows one" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sluice.checkScaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if $scaling.enabled -}}
{{- if eq .Values.kind "DaemonSet" -}}
{{- fail "autoscaling.enabled needs kind: Deployment; a DaemonSet has one Pod a node" -}}
{{- end -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if not (or $scaling.targetCPUUtilizationPercentage $scaling.targetMemoryUtilizationPercentage $scaling.metrics) -}}
{{- fail "autoscaling.enabled without a measure: set targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or metrics" -}}
{{- end -}}
{{- $resources := default (dict) .Values.dataPlane.resources -}}
{{- range $name, $target := dict "cpu" "targetCPUUtilizationPercentage" "memory" "targetMemoryUtilizationPercentage" -}}
{{- if and (get $scaling $target) (not (or (get (default (dict) $resources.requests) $name) (get (default (dict) $resources.limits) $name))) -}}
{{- fail (printf "autoscaling.%s is a share of dataPlane.resources.requests.%s, which is not set" $target $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The chart's own labels choose Pods; a second value for one of them would part selectors from what they select. */}}
{{- define "sluice.checkNames" -}}
{{- $own := include "sluice.ownLabels" . | fromYaml -}}
{{- range $where, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels "service.labels" .Values.service.labels "metrics.serviceMonitor.labels" .Values.metrics.serviceMonitor.labels "metrics.prometheusRule.labels" .Values.metrics.prometheusRule.labels "metrics.dashboard.labels" .Values.metrics.dashboard.labels -}}
{{- range $name, $_ := $labels -}}
{{- if hasKey $own $name -}}
{{- fail (printf "%s: %s is the chart's own label (nameOverride and the release's name change it)" $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (or .Values.service.enabled .Values.metrics.service.enabled .Values.metrics.serviceMonitor.enabled) (not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" (include "sluice.fullname" .))) -}}
{{- fail (printf "the release's name makes %q, which no Service may have: it must begin with a letter and hold no dot (fullnameOverride sets another)" (include "sluice.fullname" .)) -}}
{{- end -}}
{{- end -}}
