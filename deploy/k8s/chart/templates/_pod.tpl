{{- /*
The values of a component over those of all pods. Of lists and values, its own count; maps are merged.
*/ -}}
{{- define "jobfleet.own" -}}
{{- mergeOverwrite (deepCopy .root.Values.pods) (deepCopy .own) | toJson }}
{{- end }}

{{- /*
The variables of a container: the fixed ones of its program (env), over them those of the values. A map says where a value
comes from.
*/ -}}
{{- define "jobfleet.env" -}}
{{- $all := dict "JOBFLEET_METRICS_HOST" "0.0.0.0" "JOBFLEET_METRICS_PORT" "9100" }}
{{- $_ := set $all "JOBFLEET_URL" (dict "secretKeyRef" (dict "name" .secret "key" "url")) }}
{{- with .root.Values.versionLabel }}{{ $_ := set $all "JOBFLEET_VERSION_LABEL" . }}{{ end }}
{{- range $name, $value := .env }}{{ $_ := set $all $name $value }}{{ end }}
{{- range $name, $value := .own.env }}{{ $_ := set $all $name $value }}{{ end }}
{{- range $name, $value := $all }}
{{- if kindIs "map" $value }}
- {name: {{ $name }}, valueFrom: {{ toJson $value }}}
{{- else if not (kindIs "invalid" $value) }}
- {name: {{ $name }}, value: {{ include "jobfleet.text" $value | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "jobfleet.probes" -}}
startupProbe: {httpGet: {path: /healthz, port: metrics}, periodSeconds: 2, failureThreshold: 60}
livenessProbe: {httpGet: {path: /healthz, port: metrics}, periodSeconds: 15, timeoutSeconds: 5, failureThreshold: 4}
readinessProbe: {httpGet: {path: /readyz, port: metrics}, periodSeconds: 10, timeoutSeconds: 5}
{{- end }}

{{- /*
The pod of a program: root, name, component, role, own (its values), args, env, secret, grace (seconds), port (name and
number), probes, volumes, mounts, init.
*/ -}}
{{- define "jobfleet.pod" -}}
{{- $root := .root }}
{{- $own := .own }}
{{- $selector := include "jobfleet.selector" . | fromYaml }}
metadata:
  labels: {{- mergeOverwrite (deepCopy $root.Values.labels) (deepCopy $own.labels) $selector (dict "jobfleet/role" .role) | toYaml | nindent 4 }}
  {{- with $own.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  # Above grace + 5 s, after which a worker kills what does not react.
  terminationGracePeriodSeconds: {{ .grace }}
  serviceAccountName: {{ include "jobfleet.account" . }}
  automountServiceAccountToken: {{ or $own.serviceAccount.token .token | default false }}
  enableServiceLinks: false
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "hostAliases" "dnsPolicy" "dnsConfig" }}
  {{- with get $own $key }}
  {{ $key }}: {{ toJson . }}
  {{- end }}
  {{- end }}
  {{- with $own.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ merge (deepCopy .) (dict "labelSelector" (dict "matchLabels" $selector)) | toJson }}
    {{- end }}
  {{- end }}
  securityContext: {{- toYaml $own.podSecurityContext | nindent 4 }}
  {{- with concat (.init | default list) $own.initContainers }}
  initContainers: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .role }}
      image: {{ include "jobfleet.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: {{ concat .args $own.extraArgs | toJson }}
      env:
        {{- include "jobfleet.env" . | trim | nindent 8 }}
      {{- with $own.envFrom }}
      envFrom: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports: [{name: {{ .port.name }}, containerPort: {{ .port.number }}}]
      securityContext: {{- toYaml $own.securityContext | nindent 8 }}
      {{- .probes | nindent 6 }}
      {{- with $own.lifecycle }}
      lifecycle: {{- toYaml . | nindent 8 }}
      {{- end }}
      resources: {{- toYaml $own.resources | nindent 8 }}
      volumeMounts: {{- concat (list (dict "name" "tmp" "mountPath" "/tmp")) (.mounts | default list) $own.volumeMounts | toYaml | nindent 8 }}
    {{- with $own.sidecars }}{{ toYaml . | nindent 4 }}{{ end }}
  volumes: {{- concat (list (dict "name" "tmp" "emptyDir" dict)) (.volumes | default list) $own.volumes | toYaml | nindent 4 }}
{{- end }}

{{- /* What stands beside each deployment: its budget of disruptions and its service account. */ -}}
{{- define "jobfleet.beside" -}}
{{- with .own.disruption }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $.name }}
  labels: {{- include "jobfleet.labels" $ | nindent 4 }}
spec:
  {{- toYaml . | nindent 2 }}
  selector:
    matchLabels: {{- include "jobfleet.selector" $ | nindent 6 }}
{{- end }}
{{- if .own.serviceAccount.create }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "jobfleet.account" . }}
  labels: {{- include "jobfleet.labels" . | nindent 4 }}
  {{- with .own.serviceAccount.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}
