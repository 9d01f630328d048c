{{- /* What every pod of ours has in common: pod security `restricted`. Call with the ids, as in values: podSecurity. */}}
{{- define "paploss.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  {{- range $name, $id := . }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $name }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
# Links would come as PAPLOSS_PORT=tcp://..., among the settings.
enableServiceLinks: false
{{- end }}

{{- /* The same of the included servers: their images know this user. */}}
{{- define "paploss.serverSecurity" -}}
{{ include "paploss.podSecurity" (dict "runAsUser" 999 "runAsGroup" 999 "fsGroup" 999) }}
{{- end }}

{{- define "paploss.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- /* A folder of secrets, each a file named as its setting. Call with a dict of file: (list secret key), and a third
  item, true, for one that a pod can start without. */}}
{{- define "paploss.secretsVolume" -}}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
{{- range $file, $source := . }}
      - secret:
          name: {{ index $source 0 }}
          items: [{key: {{ index $source 1 }}, path: {{ $file }}}]
          {{- if gt (len $source) 2 }}
          optional: {{ index $source 2 }}
          {{- end }}
{{- end }}
{{- end }}

{{- define "paploss.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{- /* A probe with what the values say in place of its fields. Call with (list "liveness" DEFAULT VALUES). */}}
{{- define "paploss.probe" -}}
{{- $name := printf "%sProbe" (index . 0) }}
{{ $name }}: {{- toYaml (mergeOverwrite (deepCopy (index . 1)) (get (index . 2) $name | default dict)) | nindent 2 }}
{{- end }}

{{- /* Annotations of a worker's pod. */}}
{{- define "paploss.workerAnnotations" -}}
{{- with include "paploss.secretsChecksum" (list . (include "paploss.keysSecret" .) (include "paploss.redisSecret" .)) }}
checksum/secrets: {{ . }}
{{- end }}
{{- with .Values.workers.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Spec of a worker's pod. Call with (list $ pool elastic), elastic "true" or "". */}}
{{- define "paploss.workerPod" -}}
{{- $root := index . 0 }}{{- $pool := index . 1 }}{{- $elastic := index . 2 }}{{- $workers := $root.Values.workers }}
{{- $gpus := dict }}
{{- if $pool.gpus }}{{- $gpus = dict ($pool.gpuResource | default $workers.gpuResource) ($pool.gpus | toString) }}{{- end }}
{{- $resources := $pool.resources | default $workers.resources }}
{{- $limits := merge (dict) $gpus (dig "limits" dict $resources) }}
{{- include "paploss.podSecurity" $root.Values.podSecurity }}
serviceAccountName: {{ include "paploss.name" $root }}-worker
automountServiceAccountToken: false
restartPolicy: {{ ternary "Never" "Always" (eq $elastic "true") }}
terminationGracePeriodSeconds: {{ add $workers.graceSeconds 30 }}
{{- include "paploss.pullSecrets" $root }}
{{- with $workers.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- /* What a pool has replaces what stands beside the pools, also an empty one: `merge` would mix them. */}}
{{- $placement := dict }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- $_ := set $placement $field (get (ternary $pool $workers (hasKey $pool $field)) $field) }}
{{- end }}
{{- with include "paploss.placement" $placement | trim }}
{{ . }}
{{- end }}
{{- with $workers.initContainers }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: worker
    {{- include "paploss.image" (list $root "worker") | nindent 4 }}
    {{- include "paploss.containerSecurity" . | nindent 4 }}
    env:
      {{- include "paploss.commonEnv" $root | nindent 6 }}
      - {name: PAPLOSS_CONTROLLER_URL, value: {{ include "paploss.url" $root | quote }}}
      - {name: PAPLOSS_STATE_DIR, value: /state}
      - {name: PAPLOSS_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
      - {name: PAPLOSS_GPUS, value: "[{{ $pool.gpus }}]"}
      - {name: PAPLOSS_SLOTS, value: {{ $pool.slots | default 1 | quote }}}
      - {name: PAPLOSS_GRACE_SECONDS, value: {{ $workers.graceSeconds | quote }}}
      {{- if $elastic }}
      - {name: PAPLOSS_IDLE_SECONDS, value: {{ $workers.idleSeconds | quote }}}
      {{- end }}
      {{- with $workers.extraEnv }}{{- toYaml . | nindent 6 }}{{- end }}
    resources: {{- toYaml (merge (dict "limits" $limits) $resources) | nindent 6 }}
    # How it ended goes to the page: the last lines of the log, where it said nothing better.
    terminationMessagePolicy: FallbackToLogsOnError
    {{- if not $elastic }}
    {{- include "paploss.probe" (list "readiness" (dict "exec" (dict "command" (list "test" "-w" "/state")) "periodSeconds" 30 "timeoutSeconds" 10) $workers) | nindent 4 }}
    {{- end }}
    {{- with $workers.lifecycle }}
    lifecycle: {{- toYaml . | nindent 6 }}
    {{- end }}
    volumeMounts:
      - {name: tmp, mountPath: /tmp}
      - {name: shm, mountPath: /dev/shm}
      - {name: secrets, mountPath: /run/secrets/paploss, readOnly: true}
      - {name: state, mountPath: /state}
      {{- range $name, $volume := $root.Values.data }}
      - {name: data-{{ $name }}, mountPath: {{ $volume.mountPath }}, readOnly: true}
      {{- end }}
      {{- with $workers.extraVolumeMounts }}{{- toYaml . | nindent 6 }}{{- end }}
  {{- with $workers.sidecars }}{{- toYaml . | nindent 2 }}{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  - name: shm
    emptyDir: {medium: Memory, sizeLimit: {{ $workers.shmSize }}}
  {{- $secrets := dict "paploss_key" (list (include "paploss.keysSecret" $root) $root.Values.keys.names.worker) }}
  {{- $secrets = merge $secrets (dict "paploss_redis_url" (list (include "paploss.redisSecret" $root) (include "paploss.redisKey" $root))) }}
  {{- include "paploss.secretsVolume" $secrets | nindent 2 }}
  - name: state
    {{- if $root.Values.state.ephemeral }}
    emptyDir: {}
    {{- else }}
    persistentVolumeClaim: {claimName: {{ $root.Values.state.existingClaim | default (printf "%s-state" (include "paploss.name" $root)) }}}
    {{- end }}
  {{- range $name, $volume := $root.Values.data }}
  - name: data-{{ $name }}
    persistentVolumeClaim:
      claimName: {{ $volume.existingClaim | default (printf "%s-data-%s" (include "paploss.name" $root) $name) }}
      readOnly: true
  {{- end }}
  {{- with $workers.extraVolumes }}{{- toYaml . | nindent 2 }}{{- end }}
{{- end }}
