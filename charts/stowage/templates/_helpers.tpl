{{- define "stowage.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end }}

{{- define "stowage.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "stowage.name" .) -}}
{{- end }}

{{- define "stowage.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "stowage.selector" -}}
app.kubernetes.io/name: stowage
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The chart's own labels win over common ones: selectors lean on them. */}}
{{- define "stowage.labels" -}}
{{- $own := include "stowage.selector" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version) }}
{{- toYaml (merge $own .Values.commonLabels) }}
{{- end }}

{{/* Labels of a pod of ours: what it is (the argument), then those of all, then those of pods. */}}
{{- define "stowage.podLabels" -}}
{{- $own := dict "app.kubernetes.io/name" .name "app.kubernetes.io/instance" .root.Release.Name }}
{{- toYaml (merge $own .root.Values.podLabels .root.Values.commonLabels) }}
{{- end }}

{{/* Other products' kinds of the same name, as far as this cluster has them. */}}
{{- define "stowage.foreignPools" -}}
{{- $pools := list "karpenter.sh/v1" "karpenter.sh/v1beta1" "apps.openyurt.io/v1beta2" "apps.openyurt.io/v1beta1" "hypershift.openshift.io/v1beta1" }}
{{- range $pools }}
{{- $kind := printf "%s/NodePool" . }}
{{- if $.Capabilities.APIVersions.Has $kind }}
  this cluster has {{ $kind }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where pods of ours may run, what they may do and how they get the image: the same for the manager and what runs once. */}}
{{- define "stowage.placement" -}}
enableServiceLinks: false
securityContext: {{ toJson .Values.podSecurityContext }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}
