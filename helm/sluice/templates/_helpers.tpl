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

{{- define "sluice.ownLabels" -}}
{{ include "sluice.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "sluice.labels" -}}
{{ include "sluice.ownLabels" . }}
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

{{/* A duration (500ms, 10s, 2m, 1h) in milliseconds. */}}
{{- define "sluice.milliseconds" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- mul $number (get (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "" 1) $unit) -}}
{{- end -}}

{{/* A duration in whole seconds, rounded up. */}}
{{- define "sluice.seconds" -}}
{{- div (add (include "sluice.milliseconds" . | int64) 999) 1000 -}}
{{- end -}}

{{/* A size (512, 64Ki, 1Mi) in bytes. */}}
{{- define "sluice.bytes" -}}
{{- $text := ternary (toString .) (. | int64 | toString) (kindIs "string" .) -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- mul (regexFind "^[0-9]+" $text | int64) (get (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "" 1) $unit) -}}
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

{{/* NAMESPACE/NAME of the Service whose addresses go into statuses; nothing where there is none. */}}
{{- define "sluice.publishService" -}}
{{- if and .Values.publishService (ne .Values.publishService "off") -}}
{{- .Values.publishService -}}
{{- else if and (not .Values.publishService) (not .Values.publishAddresses) .Values.service.enabled -}}
{{- printf "%s/%s" .Release.Namespace (include "sluice.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "sluice.listens" -}}
{{- if ne (toString .) "off" -}}yes{{- end -}}
{{- end -}}
