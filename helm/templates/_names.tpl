{{- define "paploss.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 30 | trimSuffix "-" }}
{{- end }}

{{- /* Labels of a component. Call with (list $ "controller"), and a third item for labels of its own, which replace
commonLabels of the same name: twice in one mapping, a name is no valid YAML. */}}
{{- define "paploss.labels" -}}
{{- $root := index . 0 }}{{- $own := dict }}
{{- if gt (len .) 2 }}{{- $own = index . 2 | default dict }}{{- end }}
{{- include "paploss.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- with merge (dict) $own ($root.Values.commonLabels | default dict) }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Labels of pods that are no worker of an elastic pool. Call with (list $ "controller" .Values.controller). */}}
{{- define "paploss.podLabels" -}}
{{- include "paploss.labels" (list (index . 0) (index . 1) (index . 2).podLabels) }}
{{- end }}

{{- define "paploss.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "paploss.image" -}}
{{- $root := index . 0 }}{{- $image := index $root.Values.images (index . 1) -}}
{{- $registry := dig "imageRegistry" "" ($root.Values.global | default dict) }}
{{- $name := printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) }}
{{- with $registry }}{{- $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{- end }}
{{- with $image.digest }}{{- $name = printf "%s@%s" $name . }}{{- end -}}
image: {{ $name | quote }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end }}

{{- define "paploss.pullSecrets" -}}
{{- with concat .Values.images.pullSecrets (dig "imagePullSecrets" list (.Values.global | default dict)) | uniq }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The pools of workers, as a mapping: of the values, or one where there are none. Helm would merge a default into
pools of other names. */}}
{{- define "paploss.pools" -}}
{{- toJson (.Values.workers.pools | default (dict "gpu" (dict "gpus" 1 "replicas" 1 "maximum" 4))) }}
{{- end }}

{{- /* Changes with the Secrets that the operator gave, so that pods start again with new keys on the next upgrade.
Generated ones never change. Call with (list $ NAME ...). */}}
{{- define "paploss.secretsChecksum" -}}
{{- $root := first . }}{{- $data := dict }}
{{- range rest . | uniq }}
{{- if ne . (include "paploss.generatedSecret" $root) }}
{{- with (lookup "v1" "Secret" $root.Release.Namespace .).data }}{{- $data = merge $data . }}{{- end }}
{{- end }}
{{- end }}
{{- with $data }}{{ toJson . | sha256sum }}{{- end }}
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

{{- /* Keys within the Secrets: of those that the chart makes or describes, and of the operator's. */}}
{{- define "paploss.databaseKey" -}}{{ ternary .Values.database.existingSecretKey "database-url" (not (empty .Values.database.existingSecret)) }}{{- end }}
{{- define "paploss.redisKey" -}}{{ ternary .Values.redis.existingSecretKey "redis-url" (not (empty .Values.redis.existingSecret)) }}{{- end }}

{{- /* Settings that every process of ours has. */}}
{{- define "paploss.commonEnv" -}}
- {name: PAPLOSS_SECRETS_DIR, value: /run/secrets/paploss}
- {name: PAPLOSS_LOG_LEVEL, value: {{ .Values.logs.level }}}
- {name: PAPLOSS_LOG_FORMAT, value: {{ .Values.logs.format }}}
{{- end }}

{{- /* "true" where the controller asks the cluster's API, and so needs a token and rights; else empty. */}}
{{- define "paploss.usesCluster" -}}
{{- if or (eq .Values.workers.mode "elastic") .Values.searchResources.enabled }}true{{ end }}
{{- end }}
