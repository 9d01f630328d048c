{{- define "paploss.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 30 | trimSuffix "-" }}
{{- end }}

{{- /* Labels of a component. Call with (list $ "controller"). */}}
{{- define "paploss.labels" -}}
{{- $root := index . 0 }}
{{- include "paploss.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- define "paploss.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "paploss.image" -}}
{{- $image := index (index . 0).Values.images (index . 1) -}}
image: {{ printf "%s:%s" $image.repository ($image.tag | default (index . 0).Chart.AppVersion) | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end }}

{{- define "paploss.pullSecrets" -}}
{{- with .Values.images.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "paploss.generatedSecret" -}}{{ include "paploss.name" . }}-generated{{- end }}
{{- define "paploss.keysSecret" -}}{{ .Values.keys.existingSecret | default (include "paploss.generatedSecret" .) }}{{- end }}
{{- define "paploss.databaseSecret" -}}
{{ coalesce .Values.database.existingSecret .Values.database.included.existingSecret (include "paploss.generatedSecret" .) }}
{{- end }}
{{- define "paploss.redisSecret" -}}
{{ coalesce .Values.redis.existingSecret .Values.redis.included.existingSecret (include "paploss.generatedSecret" .) }}
{{- end }}
{{- define "paploss.url" -}}http://{{ include "paploss.name" . }}:{{ .Values.controller.service.port }}{{- end }}
