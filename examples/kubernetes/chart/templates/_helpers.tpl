{{- define "genkan.name" -}}
{{- if contains "genkan" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-genkan" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "genkan.selector" -}}
app.kubernetes.io/name: genkan
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "genkan.labels" -}}
{{ include "genkan.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What the server and the migration before it have in common. */}}
{{- define "genkan.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - { name: GENKAN_CONFIG, value: /etc/genkan/genkan.yaml }
  {{- range $variable, $entry := .Values.secret.entries }}
  {{- if $entry }}
  - { name: {{ $variable }}_FILE, value: {{ printf "/run/secrets/genkan/%s" $entry }} }
  {{- end }}
  {{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
volumeMounts:
  - { name: config, mountPath: /etc/genkan, readOnly: true }
  - { name: secrets, mountPath: /run/secrets/genkan, readOnly: true }
  - { name: data, mountPath: /var/lib/genkan }
  - { name: tmp, mountPath: /tmp }
{{- end }}
