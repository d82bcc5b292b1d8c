{{/* What the plugin's pods and the one of `helm test` that runs doctor have in common. */}}
{{- define "tee.pod" -}}
{{- with include "tee.nodeSelector" . }}
nodeSelector:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with include "tee.account" . }}
serviceAccountName: {{ . | quote }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.serve "dra" }}
# It publishes the node's ResourceSlice and reads the pods' claims.
automountServiceAccountToken: true
{{- else }}
# It asks the kubelet and the TEE, never the API server.
automountServiceAccountToken: false
{{- end }}
enableServiceLinks: false
# It ends within 2 s, also while the TEE hangs.
terminationGracePeriodSeconds: 10
securityContext:
  # Root, as the kubelet's sockets are root's, and the TEE admits callers by their user's name.
  runAsUser: 0
  runAsGroup: 0
  {{- if include "tee.hasSeccomp" . }}
  seccompProfile:
    type: RuntimeDefault
  {{- end }}
  {{- with .Values.seLinuxType }}
  seLinuxOptions:
    type: {{ . | quote }}
  {{- end }}
# Directories, never the sockets in them: a restarted kubelet or teecd binds new ones.
volumes:
  - name: config
    configMap:
      name: {{ include "tee.fullname" . | quote }}
  {{- if eq .Values.serve "dra" }}
  - name: plugins
    hostPath:
      path: {{ include "tee.kubeletRoot" . }}/plugins/tee-ram.huawei.com
      type: DirectoryOrCreate
  - name: plugins-registry
    hostPath:
      path: {{ include "tee.kubeletRoot" . }}/plugins_registry
      type: DirectoryOrCreate
  {{- else }}
  - name: device-plugins
    hostPath:
      path: {{ .Values.kubelet.devicePluginsDir | quote }}
      type: Directory
  {{- end }}
  - name: pod-resources
    hostPath:
      path: {{ .Values.kubelet.podResourcesDir | quote }}
      type: DirectoryOrCreate
  {{- if eq .Values.flavour "itrustee" }}
  # The parent of teecd's directory, which then may come and go.
  - name: itrustee
    hostPath:
      path: /var/itrustee
      type: DirectoryOrCreate
  {{- end }}
  {{- if or .Values.limits.enabled .Values.limits.remove }}
  - name: node
    hostPath:
      path: /
      type: Directory
  {{- end }}
  # To see which device nodes exist; an unprivileged container can't open them.
  - name: dev
    hostPath:
      path: /dev
      type: Directory
  {{- if .Values.limits.enabled }}
  - name: cdi
    hostPath:
      path: /etc/cdi
      type: DirectoryOrCreate
  # What the hook records of limited containers.
  - name: limits
    hostPath:
      path: /run/tee-limit
      type: DirectoryOrCreate
  {{- end }}
  {{- if .Values.nodeLibraries.enabled }}
  {{- range .Values.nodeLibraries.names }}
  - name: {{ include "tee.libraryVolume" . | quote }}
    hostPath:
      path: {{ printf "%s/%s" $.Values.nodeLibraries.directory . | quote }}
      type: File
  {{- end }}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "tee.container" -}}
image: {{ include "tee.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- if or .Values.privileged (eq .Values.flavour "optee") }}
  # A client that opens a device node, as OP-TEE's opens /dev/tee0, needs a privileged container.
  privileged: true
  {{- else }}
  privileged: false
  allowPrivilegeEscalation: false
  {{- end }}
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
{{- $dra := eq .Values.serve "dra" }}
{{- if or .Values.nodeLibraries.enabled .Values.limits.enabled .Values.env $dra }}
env:
  {{- if $dra }}
  - name: TEEPLUGIN_SERVE
    value: dra
  - name: TEEPLUGIN_NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
  {{- if ne (include "tee.kubeletRoot" .) "/var/lib/kubelet" }}
  # The kubelet dials the paths that the plugin names, so both must see the sockets there.
  - name: TEEPLUGIN_POD_RESOURCES_DIR
    value: {{ .Values.kubelet.podResourcesDir }}
  {{- end }}
  {{- end }}
  {{- if .Values.nodeLibraries.enabled }}
  - name: LD_LIBRARY_PATH
    value: /opt/tee
  {{- end }}
  {{- if .Values.limits.enabled }}
  - name: TEEPLUGIN_CDI
    value: "on"
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "tee.volumeMounts" . | nindent 2 }}
{{- end }}

{{- define "tee.volumeMounts" -}}
{{- include "tee.kubeletMounts" . }}
{{ include "tee.teeMounts" . }}
{{- end }}

{{- define "tee.kubeletMounts" -}}
{{- if eq .Values.serve "dra" }}
- name: plugins
  mountPath: {{ include "tee.kubeletRoot" . }}/plugins/tee-ram.huawei.com
- name: plugins-registry
  mountPath: {{ include "tee.kubeletRoot" . }}/plugins_registry
- name: pod-resources
  mountPath: {{ .Values.kubelet.podResourcesDir }}
  readOnly: true
{{- else }}
- name: device-plugins
  mountPath: /var/lib/kubelet/device-plugins
- name: pod-resources
  mountPath: /var/lib/kubelet/pod-resources
  readOnly: true
{{- end }}
{{- end }}

{{/* What asks the TEE sees this of the node. */}}
{{- define "tee.teeMounts" -}}
- name: config
  mountPath: /etc/tee-device-plugin
  readOnly: true
{{- if eq .Values.flavour "itrustee" }}
- name: itrustee
  mountPath: /var/itrustee
  readOnly: true
- name: itrustee
  mountPath: /host/var/itrustee
  readOnly: true
{{- end }}
- name: dev
  mountPath: /host/dev
  readOnly: true
{{- if .Values.limits.enabled }}
- name: cdi
  mountPath: /host/etc/cdi
  readOnly: true
- name: limits
  mountPath: /host/run/tee-limit
  readOnly: true
{{- end }}
{{- if .Values.nodeLibraries.enabled }}
{{- range .Values.nodeLibraries.names }}
# A file, not the node's whole directory: the image's Python must not find the node's C library.
- name: {{ include "tee.libraryVolume" . | quote }}
  mountPath: {{ printf "/opt/tee/%s" . | quote }}
  readOnly: true
{{- end }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Puts the hook, the CDI specification and the host service onto the node, or takes them away. */}}
{{- define "tee.limitsInstaller" -}}
- name: limits
  image: {{ include "tee.image" . | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - /usr/share/tee-device-plugin/limits/limits.sh
    - {{ if .Values.limits.remove }}uninstall{{ else }}install{{ end }}
    - /node
  securityContext:
    privileged: false
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop:
        - ALL
      # For the node's systemctl.
      add:
        - SYS_CHROOT
    {{- if .Values.seLinuxType }}
    # The only type that may write the node's own files.
    seLinuxOptions:
      type: spc_t
    {{- end }}
  env:
    - name: TEEPLUGIN_CONFIG
      value: /etc/tee-device-plugin/config.yaml
    - name: TEEPLUGIN_HOST_ROOT
      value: /host
    {{- if .Values.limits.secureStorage }}
    - name: CDI_FLAGS
      value: --secure-storage
    {{- end }}
    {{- if .Values.nodeLibraries.enabled }}
    - name: LD_LIBRARY_PATH
      value: /opt/tee
    {{- end }}
    {{- with .Values.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    {{- include "tee.teeMounts" . | nindent 4 }}
    # The whole root, as the node's systemctl is called there. The plugin's container has it not.
    - name: node
      mountPath: /node
{{- end }}
