{{/* The DaemonSet's name: standard Helm, but that the release's name alone does where it says what it is. */}}
{{- define "tee.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimAll "-." -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimAll "-." -}}
{{- end -}}
{{- end }}

{{- define "tee.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | replace "+" "_" | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* A single value as it was written, "" for none. Whole numbers of values files, and those that Helm has stored,
are floating: a large one would be written 1e+06. */}}
{{- define "tee.text" -}}
{{- $value := . -}}
{{- if kindIs "float64" . }}{{ if eq . (floor .) }}{{ $value = int64 . }}{{ end }}{{ end -}}
{{- if not (kindIs "invalid" .) }}{{ toString $value }}{{ end -}}
{{- end }}

{{- define "tee.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ include "tee.text" .tag | default ($.Chart.AppVersion | replace "+" "-") }}{{ end -}}
{{- end -}}
{{- end }}

{{/* The DRA driver's account. One name in each cluster, as the driver itself has. */}}
{{- define "tee.account" -}}
{{- if eq .Values.serve "dra" }}{{ .Values.serviceAccountName | default .Chart.Name }}{{ else }}{{ .Values.serviceAccountName }}{{ end -}}
{{- end }}

{{/* The kubelet's --root-dir. */}}
{{- define "tee.kubeletRoot" -}}
{{- dir .Values.kubelet.podResourcesDir -}}
{{- end }}

{{- define "tee.nodeSelector" -}}
{{- $selector := deepCopy (.Values.nodeSelector | default dict) -}}
{{- if .Values.nfd.enabled -}}
{{- if eq (toString (get $selector "teetype")) "trustzone" }}{{ $_ := unset $selector "teetype" }}{{ end -}}
{{- $_ := set $selector "feature.node.kubernetes.io/teetype" "trustzone" -}}
{{- end -}}
{{- with $selector }}{{ toYaml . }}{{ end -}}
{{- end }}

{{/* The plugin's config.yaml, in which numbers stay numbers: see tee.text. */}}
{{- define "tee.config" -}}
{{- $config := dict -}}
{{- range $key, $value := .Values.settings -}}
{{- if kindIs "float64" $value }}{{ if eq $value (floor $value) }}{{ $value = int64 $value }}{{ end }}{{ end -}}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $config $key $value }}{{ end -}}
{{- end -}}
{{- if ne .Values.resourceName "huawei.com/tee-ram" }}{{ $_ := set $config "resource-name" .Values.resourceName }}{{ end -}}
{{- $options := dict -}}
{{- range $key, $value := .Values.backendOptions -}}
{{- $_ := set $options $key (include "tee.text" $value) -}}
{{- end -}}
{{- if eq .Values.flavour "simulated" -}}
{{- $_ := set $config "backend" "simulated" -}}
{{- if not (hasKey $options "total") }}{{ $_ := set $options "total" "64MiB" }}{{ end -}}
{{- else if eq .Values.flavour "other" -}}
{{- $_ := set $config "backend" .Values.backend -}}
{{- else -}}
{{- $_ := set $config "backend" "libteec" -}}
{{- $_ := set $options "flavour" .Values.flavour -}}
{{- end -}}
{{- $_ := set $config "backend-options" $options -}}
{{- toYaml $config -}}
{{- end }}

{{/* The name of the volume for one of the node's libraries. */}}
{{- define "tee.libraryVolume" -}}
{{- regexReplaceAll "[^a-z0-9]+" (lower . | trimSuffix ".so") "-" -}}
{{- end }}

{{/* Whether DaemonSets can bring up the newer pod first, and pods name their seccomp profile. */}}
{{- define "tee.hasSurge" -}}
{{- if semverCompare ">=1.22.0-0" .Capabilities.KubeVersion.Version }}true{{ end -}}
{{- end }}
{{- define "tee.hasSeccomp" -}}
{{- if semverCompare ">=1.19.0-0" .Capabilities.KubeVersion.Version }}true{{ end -}}
{{- end }}
