{{- define "jobfleet.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- define "jobfleet.labels" -}}
app.kubernetes.io/name: jobfleet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "jobfleet.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* The environment of a program: the root, and the secret of its role. */ -}}
{{- define "jobfleet.env" -}}
- {name: JOBFLEET_URL, valueFrom: {secretKeyRef: {name: {{ .secret }}, key: url}}}
- {name: JOBFLEET_METRICS_HOST, value: 0.0.0.0}
- {name: JOBFLEET_METRICS_PORT, value: "9100"}
{{- with .root.Values.versionLabel }}
- {name: JOBFLEET_VERSION_LABEL, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := .root.Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "jobfleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "jobfleet.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "jobfleet.probes" -}}
startupProbe: {httpGet: {path: /healthz, port: metrics}, periodSeconds: 2, failureThreshold: 60}
livenessProbe: {httpGet: {path: /healthz, port: metrics}, periodSeconds: 15, timeoutSeconds: 5, failureThreshold: 4}
readinessProbe: {httpGet: {path: /readyz, port: metrics}, periodSeconds: 10, timeoutSeconds: 5}
{{- end }}
