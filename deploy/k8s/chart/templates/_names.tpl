{{- define "jobfleet.name" -}}{{ .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}

{{- /* What selects the pods of a component; it must never change. */ -}}
{{- define "jobfleet.selector" -}}
app.kubernetes.io/name: jobfleet
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "jobfleet.labels" -}}
{{- with .root.Values.labels }}{{ toYaml . }}
{{ end }}
{{- include "jobfleet.selector" . }}
{{- end }}

{{- define "jobfleet.image" -}}
{{- $image := .Values.image }}
{{- if $image.digest }}{{ printf "%s@%s" $image.repository $image.digest | quote -}}
{{- else }}{{ printf "%s:%s" $image.repository (include "jobfleet.text" ($image.tag | default .Chart.AppVersion)) | quote }}{{ end }}
{{- end }}

{{- /* A value as the text of a variable. Helm reads numbers of a file as floats, and prints large ones as 1e+06. */ -}}
{{- define "jobfleet.text" -}}
{{- if kindIs "string" . }}{{ . }}{{ else if kindIs "slice" . }}{{ join "," . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{- /* The seconds of a duration: a number, or a text such as 90s or 1h30m. */ -}}
{{- define "jobfleet.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9]+([.][0-9]+)?(ms|s|m|h|d)?" (include "jobfleet.text" .) -1 }}
{{- $unit := regexFind "[a-z]+$" . | default "s" }}
{{- $sum = addf $sum (mulf (trimSuffix $unit . | float64) (get $units $unit)) }}
{{- end }}
{{- $sum | ceil | int64 }}
{{- end }}

{{- /* The name of the service account of a component. */ -}}
{{- define "jobfleet.account" -}}
{{- .own.serviceAccount.name | default (ternary .name "default" .own.serviceAccount.create) }}
{{- end }}
