{{/* securityContext of both containers. The argument is the uid. */}}
{{- define "sluice.securityContext" -}}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* (dict "path" "/healthz" "port" "NAME" "probe" MAP) */}}
{{- define "sluice.probe" -}}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
{{ toYaml .probe }}
{{- end -}}

{{- define "sluice.preStop" -}}
{{- if gt (int .Values.preStopSeconds) 0 -}}
lifecycle:
  preStop:
    sleep:
      seconds: {{ int64 .Values.preStopSeconds }}
{{- end -}}
{{- end -}}

{{- define "sluice.controlPlane" -}}
name: controlplane
image: {{ include "sluice.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [sluice-controlplane]
args:
- --socket=/run/sluice/push.sock
- --config=/etc/sluice/options.yaml
- --controller-name={{ include "sluice.controllerName" . }}
- --dataplane-uid={{ int64 .Values.dataPlane.uid }}
- --admin-port={{ int64 .Values.controlPlane.adminPort }}
- --admin-bind=$(POD_IP)
- --replicas-of={{ include "sluice.fullname" . }}-leader
- --admin-socket=/run/sluice-admin/admin.sock
- --log-level={{ .Values.controlPlane.logLevel }}
{{- with .Values.defaultBackendService }}
- --default-backend-service={{ . }}
{{- end }}
{{- with .Values.defaultSslCertificate }}
- --default-ssl-certificate={{ . }}
{{- end }}
{{- range .Values.controlPlane.extraArgs }}
- {{ . | quote }}
{{- end }}
env:
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
{{- with .Values.controlPlane.extraEnv }}
{{ toYaml . }}
{{- end }}
ports:
- name: control-admin
  containerPort: {{ int64 .Values.controlPlane.adminPort }}
livenessProbe:
  {{- include "sluice.probe" (dict "path" "/healthz" "port" "control-admin" "probe" .Values.controlPlane.probes.liveness) | nindent 2 }}
{{- with include "sluice.preStop" . }}
{{ . }}
{{- end }}
{{- with .Values.controlPlane.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "sluice.securityContext" .Values.controlPlane.uid | nindent 2 }}
volumeMounts:
- name: push
  mountPath: /run/sluice
- name: control-admin
  mountPath: /run/sluice-admin
- name: options
  mountPath: /etc/sluice
  readOnly: true
# Here and nowhere else.
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- with .Values.controlPlane.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sluice.dataPlane" -}}
name: dataplane
image: {{ include "sluice.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [sluice-dataplane]
args:
- --socket=/run/sluice/push.sock
- --state=/var/lib/sluice
- --control-uid={{ int64 .Values.controlPlane.uid }}
- --admin-port={{ int64 .Values.dataPlane.adminPort }}
- --admin-bind=$(POD_IP)
- --admin-socket=/run/sluice-admin/admin.sock
- --log-level={{ .Values.dataPlane.logLevel }}
- --rate-limit-keys={{ int64 .Values.dataPlane.rateLimitKeys }}
- --metric-routes={{ int64 .Values.dataPlane.metricRoutes }}
{{- if not .Values.dataPlane.persistSecrets }}
- --no-persist-secrets
{{- end }}
{{- range .Values.dataPlane.extraArgs }}
- {{ . | quote }}
{{- end }}
env:
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
{{- with .Values.dataPlane.extraEnv }}
{{ toYaml . }}
{{- end }}
ports:
{{- range $name := list "http" "https" }}
{{- $port := get $.Values.listeners $name }}
{{- if include "sluice.listens" $port }}
- name: {{ $name }}
  containerPort: {{ int64 $port }}
  {{- if $.Values.hostPort.enabled }}
  hostPort: {{ get $.Values.hostPort $name | int64 }}
  {{- end }}
{{- end }}
{{- end }}
- name: data-admin
  containerPort: {{ int64 .Values.dataPlane.adminPort }}
livenessProbe:
  {{- include "sluice.probe" (dict "path" "/healthz" "port" "data-admin" "probe" .Values.dataPlane.probes.liveness) | nindent 2 }}
readinessProbe:
  {{- include "sluice.probe" (dict "path" "/readyz" "port" "data-admin" "probe" .Values.dataPlane.probes.readiness) | nindent 2 }}
{{- with include "sluice.preStop" . }}
{{ . }}
{{- end }}
{{- with .Values.dataPlane.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "sluice.securityContext" .Values.dataPlane.uid | nindent 2 }}
volumeMounts:
# Connecting needs no right to write in the directory: only the control plane may put a socket there.
- name: push
  mountPath: /run/sluice
  readOnly: true
- name: data-admin
  mountPath: /run/sluice-admin
- name: state
  mountPath: /var/lib/sluice
{{- with .Values.dataPlane.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sluice.podTemplate" -}}
metadata:
  labels:
    {{- include "sluice.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: dataplane
    {{- with .Values.watchNamespaces }}
    # The only option that is read at the start alone: a change of it replaces the Pods.
    sluice.dev/watch-namespaces: {{ sortAlpha . | join "," | sha256sum | trunc 16 | quote }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "sluice.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ include "sluice.terminationGracePeriodSeconds" . }}
  securityContext:
    runAsNonRoot: true
    # Group of the push socket, so that the other uid may connect to it; the control plane then asks the kernel for that uid (SO_PEERCRED).
    fsGroup: {{ int64 .Values.fsGroup }}
    seccompProfile: {type: RuntimeDefault}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (eq .Values.kind "Deployment") .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
  {{- range .Values.topologySpreadConstraints }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not (hasKey . "labelSelector") }}
    labelSelector:
      matchLabels:
        {{- include "sluice.selectorLabels" $ | nindent 8 }}
    {{- end }}
  {{- end }}
  {{- end }}
  containers:
  - {{ include "sluice.controlPlane" . | nindent 4 | trim }}
  - {{ include "sluice.dataPlane" . | nindent 4 | trim }}
  volumes:
  - name: push
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  # Sockets of `sluice status` and the like: one for each container, for neither plane may ask the other.
  - name: control-admin
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  - name: data-admin
    emptyDir: {medium: Memory, sizeLimit: 1Mi}
  - name: state
    emptyDir:
      sizeLimit: {{ .Values.dataPlane.state.sizeLimit }}
      {{- with .Values.dataPlane.state.medium }}
      medium: {{ . }}
      {{- end }}
  - name: options
    configMap:
      name: {{ include "sluice.fullname" . }}
  # What a ServiceAccount's token mount holds, for one container instead of all.
  - name: token
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
