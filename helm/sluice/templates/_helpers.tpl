{{- define "sluice.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 50 bytes, so that suffixes fit. */}}
{{- define "sluice.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Cluster-scoped objects of releases with one name in two namespaces must not meet; a colon is in neither part. */}}
{{- define "sluice.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "sluice.fullname" .) -}}
{{- end -}}

{{- define "sluice.selectorLabels" -}}
app.kubernetes.io/name: {{ include "sluice.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* metadata.annotations: what every object has and what this one has beside it. (dict "root" . "own" MAP) */}}
{{- define "sluice.annotations" -}}
{{- with mergeOverwrite (dict) .root.Values.commonAnnotations (default (dict) .own) -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{- define "sluice.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "sluice.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required where serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "sluice.controllerName" -}}
{{- $own := "sluice.dev/ingress-controller" -}}
{{- if .Values.ingressClass.controllerName -}}
{{- .Values.ingressClass.controllerName -}}
{{- else if eq .Values.ingressClass.name "sluice" -}}
{{- $own -}}
{{- else -}}
{{- printf "%s-%s" $own .Values.ingressClass.name -}}
{{- end -}}
{{- end -}}

{{- define "sluice.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* A duration (500ms, 10s, 2m, 1h) in whole seconds, rounded up. */}}
{{- define "sluice.seconds" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- if eq $unit "ms" -}}{{ div (add $number 999) 1000 }}
{{- else if eq $unit "m" -}}{{ mul $number 60 }}
{{- else if eq $unit "h" -}}{{ mul $number 3600 }}
{{- else -}}{{ $number }}
{{- end -}}
{{- end -}}

{{- define "sluice.terminationGracePeriodSeconds" -}}
{{- $needed := add .Values.preStopSeconds (include "sluice.seconds" .Values.timeouts.drain | int64) 5 -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- $needed -}}
{{- else if lt (int64 $given) $needed -}}
{{- fail (printf "terminationGracePeriodSeconds: %d is less than preStopSeconds + timeouts.drain + 5 = %d; the kubelet would cut the drain" (int64 $given) $needed) -}}
{{- else -}}
{{- int64 $given -}}
{{- end -}}
{{- end -}}

{{- define "sluice.listens" -}}
{{- if ne (toString .) "off" -}}yes{{- end -}}
{{- end -}}

{{/* What the schema cannot say. */}}
{{- define "sluice.check" -}}
{{- if eq (int .Values.controlPlane.uid) (int .Values.dataPlane.uid) -}}
{{- fail "controlPlane.uid and dataPlane.uid must differ: whoever broke into the data plane must not be able to read the control plane's memory" -}}
{{- end -}}
{{- if not (or (include "sluice.listens" .Values.listeners.http) (include "sluice.listens" .Values.listeners.https)) -}}
{{- fail "listeners.http and listeners.https are both off: nothing would be served" -}}
{{- end -}}
{{- $used := dict -}}
{{- range $what, $port := dict "listeners.http" .Values.listeners.http "listeners.https" .Values.listeners.https "controlPlane.adminPort" .Values.controlPlane.adminPort "dataPlane.adminPort" .Values.dataPlane.adminPort -}}
{{- $port = toString $port -}}
{{- if and (ne $port "off") (hasKey $used $port) -}}
{{- fail (printf "%s and %s are both %s: the containers share one network" (get $used $port) $what $port) -}}
{{- end -}}
{{- $_ := set $used $port $what -}}
{{- end -}}
{{- if eq .Values.kind "DaemonSet" -}}
{{- if .Values.autoscaling.enabled -}}
{{- fail "autoscaling.enabled needs kind: Deployment; a DaemonSet has one Pod a node" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.enabled (eq .Values.kind "Deployment") -}}
{{- if eq (kindIs "invalid" .Values.podDisruptionBudget.minAvailable) (kindIs "invalid" .Values.podDisruptionBudget.maxUnavailable) -}}
{{- fail "podDisruptionBudget: exactly one of minAvailable and maxUnavailable must be set (null clears the other)" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if not (or .Values.service.enabled .Values.hostPort.enabled) -}}
{{- fail "service.enabled and hostPort.enabled are both false: no client could reach the gateway" -}}
{{- end -}}
{{- end -}}
