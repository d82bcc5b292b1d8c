{{/*
Values that Helm's schema can't judge are refused here: one line with the value, the rule and the fix.
Each line is written in English and in Chinese; `language` chooses.
*/}}
{{- define "tee.refuse" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.language "zh" -}}
{{- fail (printf "%s。修正：%s" (index . 3) (index . 4)) -}}
{{- else -}}
{{- fail (printf "%s; fix: %s" (index . 1) (index . 2)) -}}
{{- end -}}
{{- end }}

{{- define "tee.check" -}}
{{- include "tee.checkNames" . -}}
{{- include "tee.checkChoices" . -}}
{{- include "tee.checkImage" . -}}
{{- include "tee.checkSettings" . -}}
{{- include "tee.checkNode" . -}}
{{- include "tee.checkMonitoring" . -}}
{{- end }}

{{/* The names of all values, but for maps of the user's own. values.yaml has the same: a test compares. */}}
{{- define "tee.known" -}}
"": affinity backend backendOptions enabled env extraArgs extraVolumeMounts extraVolumes flavour fullnameOverride global image imagePullSecrets kubelet language limits minReadySeconds monitoring networkPolicy nfd nodeLibraries nodeSelector podAnnotations podLabels priorityClassName privileged resourceName resources seLinuxType serve serviceAccountName settings telemetry test tolerations
image: registry repository tag digest pullPolicy
nodeLibraries: enabled directory names
kubelet: devicePluginsDir podResourcesDir
nfd: enabled
limits: enabled secureStorage remove
telemetry: port
networkPolicy: enabled from
monitoring: podMonitor scrapeAnnotations prometheusRule dashboard
monitoring.podMonitor: enabled interval labels
monitoring.prometheusRule: enabled labels
monitoring.dashboard: enabled labels
test: enabled units
{{- end }}

{{- define "tee.checkNames" -}}
{{- $root := . -}}
{{- range $group, $names := include "tee.known" . | fromYaml -}}
{{- $known := splitList " " $names -}}
{{- $values := $root.Values -}}
{{- range splitList "." $group | compact }}{{ $values = get $values . }}{{ end -}}
{{- range $name, $_ := $values -}}
{{- if not (has $name $known) -}}
{{- $path := printf "%s%s" (ternary "" (printf "%s." $group) (eq $group "")) $name -}}
{{- include "tee.refuse" (list $root
  (printf "%s: there is no such value" $path) (printf "use one of %s" (join ", " $known))
  (printf "%s：没有这个值" $path) (printf "可用的有 %s" (join "、" $known))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* path, value, allowed values */}}
{{- define "tee.checkChoice" -}}
{{- $root := index . 0 -}}{{- $path := index . 1 -}}{{- $value := index . 2 -}}{{- $allowed := index . 3 -}}
{{- if not (has $value $allowed) -}}
{{- include "tee.refuse" (list $root
  (printf "%s: %q is not allowed" $path (toString $value)) (printf "use %s" (join ", " $allowed))
  (printf "%s：不允许 %q" $path (toString $value)) (printf "使用 %s" (join "、" $allowed))) -}}
{{- end -}}
{{- end }}

{{/* path, value, least, most */}}
{{- define "tee.checkNumber" -}}
{{- $root := index . 0 -}}{{- $path := index . 1 -}}{{- $value := include "tee.text" (index . 2) -}}
{{- $least := index . 3 -}}{{- $most := index . 4 -}}
{{- if or (not (regexMatch "^(0|-?[1-9][0-9]{0,14})$" $value)) (lt (int64 $value) (int64 $least)) (gt (int64 $value) (int64 $most)) -}}
{{- include "tee.refuse" (list $root
  (printf "%s: %q is not a whole number from %d to %d" $path $value (int64 $least) (int64 $most)) (printf "set %s to a number in this range" $path)
  (printf "%s：%q 不是 %d 到 %d 的整数" $path $value (int64 $least) (int64 $most)) (printf "把 %s 设为此范围内的整数" $path)) -}}
{{- end -}}
{{- end }}

{{- define "tee.checkChoices" -}}
{{- $v := .Values -}}
{{- include "tee.checkChoice" (list . "language" $v.language (list "en" "zh")) -}}
{{- include "tee.checkChoice" (list . "flavour" $v.flavour (list "itrustee" "optee" "simulated" "other")) -}}
{{- include "tee.checkChoice" (list . "serve" $v.serve (list "device-plugin" "dra")) -}}
{{- if and (eq $v.serve "dra") (semverCompare "<1.36.0-0" .Capabilities.KubeVersion.Version) -}}
{{- include "tee.refuse" (list .
  (printf "serve: dra needs Kubernetes 1.36 or newer, this is %s" .Capabilities.KubeVersion.Version) "set serve=device-plugin, or update the cluster"
  (printf "serve：dra 需要 Kubernetes 1.36 或更高版本，当前为 %s" .Capabilities.KubeVersion.Version) "设置 serve=device-plugin，或升级集群") -}}
{{- end -}}
{{- include "tee.checkChoice" (list . "image.pullPolicy" $v.image.pullPolicy (list "Always" "IfNotPresent" "Never")) -}}
{{- include "tee.checkNumber" (list . "telemetry.port" $v.telemetry.port 1 65535) -}}
{{- include "tee.checkNumber" (list . "minReadySeconds" $v.minReadySeconds 0 3600) -}}
{{- include "tee.checkNumber" (list . "test.units" $v.test.units 1 226600) -}}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?)?$" $v.fullnameOverride) -}}
{{- include "tee.refuse" (list .
  (printf "fullnameOverride: %q is not a DNS label of at most 52 characters" $v.fullnameOverride) "use lower-case letters, digits and dashes, as in tee-device-plugin"
  (printf "fullnameOverride：%q 不是最多 52 个字符的 DNS 标签" $v.fullnameOverride) "只用小写字母、数字和连字符，例如 tee-device-plugin") -}}
{{- end -}}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+/[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$" $v.resourceName) -}}
{{- include "tee.refuse" (list .
  (printf "resourceName: %q is not a resource name DOMAIN/NAME" $v.resourceName) "use one like huawei.com/tee-ram"
  (printf "resourceName：%q 不是“域名/名称”形式的资源名" $v.resourceName) "使用类似 huawei.com/tee-ram 的名称") -}}
{{- end -}}
{{- if or (hasPrefix "requests." $v.resourceName) (gt (len (splitList "/" $v.resourceName | first)) 253) -}}
{{- include "tee.refuse" (list .
  (printf "resourceName: %q begins with requests., or its domain has over 253 characters" $v.resourceName) "use one like huawei.com/tee-ram"
  (printf "resourceName：%q 以 requests. 开头，或域名超过 253 个字符" $v.resourceName) "使用类似 huawei.com/tee-ram 的名称") -}}
{{- end -}}
{{- if regexMatch "^([^/]*\\.)?kubernetes\\.io/" $v.resourceName -}}
{{- include "tee.refuse" (list .
  (printf "resourceName: %q is in a domain that belongs to Kubernetes" $v.resourceName) "use a domain of your own, as in huawei.com/tee-ram"
  (printf "resourceName：%q 使用了 Kubernetes 保留的域名" $v.resourceName) "使用自己的域名，例如 huawei.com/tee-ram") -}}
{{- end -}}
{{- end }}

{{- define "tee.checkImage" -}}
{{- $image := .Values.image -}}
{{- if not (regexMatch "^[a-z0-9]+([._/-]+[a-z0-9]+)*$" $image.repository) -}}
{{- include "tee.refuse" (list .
  (printf "image.repository: %q is not a repository" $image.repository) "use lower-case letters, and put host and port into image.registry, the tag into image.tag"
  (printf "image.repository：%q 不是镜像仓库名" $image.repository) "使用小写字母；主机和端口写入 image.registry，标签写入 image.tag") -}}
{{- end -}}
{{- if not (regexMatch "^([A-Za-z0-9.-]+(:[0-9]+)?(/[a-z0-9._/-]+)?/?)?$" $image.registry) -}}
{{- include "tee.refuse" (list .
  (printf "image.registry: %q is not HOST, HOST:PORT or one with a path" $image.registry) "leave out https://, as in registry.example:5000"
  (printf "image.registry：%q 不是 HOST、HOST:PORT 或带路径的地址" $image.registry) "去掉 https://，例如 registry.example:5000") -}}
{{- end -}}
{{- $tag := include "tee.text" $image.tag -}}
{{- if and (kindIs "float64" $image.tag) (ne $image.tag (floor $image.tag)) -}}
{{- include "tee.refuse" (list .
  (printf "image.tag: %v is a number, and may not be what was written" $image.tag) "write it in quotes, or use --set-string"
  (printf "image.tag：%v 是数字，可能与所写的不同" $image.tag) "加引号，或用 --set-string") -}}
{{- end -}}
{{- if not (regexMatch "^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$" $tag) -}}
{{- include "tee.refuse" (list .
  (printf "image.tag: %q is not a tag" $tag) "use letters, digits, dots, dashes and underscores; a digest goes into image.digest"
  (printf "image.tag：%q 不是标签" $tag) "只用字母、数字、点、连字符和下划线；摘要写入 image.digest") -}}
{{- end -}}
{{- if not (regexMatch "^(sha256:[0-9a-f]{64})?$" $image.digest) -}}
{{- include "tee.refuse" (list .
  (printf "image.digest: %q is not sha256: and 64 hexadecimal digits" $image.digest) "copy the digest that your registry shows, or leave it empty"
  (printf "image.digest：%q 不是 sha256: 加 64 位十六进制数" $image.digest) "复制镜像仓库显示的摘要，或留空") -}}
{{- end -}}
{{- range .Values.imagePullSecrets -}}
{{- if not (kindIs "map" .) -}}
{{- include "tee.refuse" (list $
  (printf "imagePullSecrets: %q is not an object with a name" (toString .)) (printf "write it as - name: %v" .)
  (printf "imagePullSecrets：%q 不是带 name 的对象" (toString .)) (printf "写成 - name: %v" .)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tee.checkSettings" -}}
{{- $root := . -}}
{{- $known := list "precision" "health-interval" "reserve" "fault-effect" "log-format" "log-level" -}}
{{- $elsewhere := dict "serve" "serve" "node-name" "serve" "backend" "flavour" "backend-options" "backendOptions" "resource-name" "resourceName" "listen" "telemetry.port" "cdi" "limits.enabled" "kubelet-dir" "kubelet.devicePluginsDir" "pod-resources-dir" "kubelet.podResourcesDir" -}}
{{- range $name, $value := .Values.settings -}}
{{- if hasKey $elsewhere $name -}}
{{- include "tee.refuse" (list $root
  (printf "settings.%s: the chart sets it" $name) (printf "use the value %s" (get $elsewhere $name))
  (printf "settings.%s：由 chart 设置" $name) (printf "使用值 %s" (get $elsewhere $name))) -}}
{{- else if not (has $name $known) -}}
{{- include "tee.refuse" (list $root
  (printf "settings.%s: the plugin has no such setting" $name) (printf "use one of %s" (join ", " $known))
  (printf "settings.%s：插件没有这个设置" $name) (printf "可用的有 %s" (join "、" $known))) -}}
{{- end -}}
{{- end -}}
{{- with .Values.settings -}}
{{- if hasKey . "precision" }}{{ include "tee.checkNumber" (list $root "settings.precision" .precision 512 1073741824) }}{{ end -}}
{{- if hasKey . "health-interval" -}}
{{- $interval := include "tee.text" (index . "health-interval") -}}
{{- if not (regexMatch "^[0-9]+(\\.[0-9]+)?$" $interval) -}}
{{- include "tee.refuse" (list $root
  (printf "settings.health-interval: %q is not a number of 0 or more" $interval) "use seconds, as in 60; 0 asks at the start only"
  (printf "settings.health-interval：%q 不是大于等于 0 的数" $interval) "使用秒数，例如 60；0 表示只在启动时查询") -}}
{{- end -}}
{{- end -}}
{{- if hasKey . "reserve" -}}
{{- if not (regexMatch "^[0-9]{1,15} *([kKmMgGtT]([iI]?[bB]?)?|[bB])?$" (include "tee.text" .reserve)) -}}
{{- include "tee.refuse" (list $root
  (printf "settings.reserve: %q is not a size" (toString .reserve)) "use a number with K, M, G or T, as in 600MiB"
  (printf "settings.reserve：%q 不是容量" (toString .reserve)) "使用带 K、M、G 或 T 的数，例如 600MiB") -}}
{{- end -}}
{{- end -}}
{{- if hasKey . "fault-effect" }}{{ include "tee.checkChoice" (list $root "settings.fault-effect" (index . "fault-effect") (list "NoSchedule" "NoExecute")) }}{{ end -}}
{{- if hasKey . "log-format" }}{{ include "tee.checkChoice" (list $root "settings.log-format" (index . "log-format") (list "text" "json")) }}{{ end -}}
{{- if hasKey . "log-level" }}{{ include "tee.checkChoice" (list $root "settings.log-level" (index . "log-level") (list "debug" "info" "warning" "error")) }}{{ end -}}
{{- end -}}
{{- if and (eq .Values.flavour "other") (not .Values.backend) -}}
{{- include "tee.refuse" (list .
  "backend: flavour=other needs the name of a backend" "set backend, as in backend=acme"
  "backend：flavour=other 需要后端名称" "设置 backend，例如 backend=acme") -}}
{{- end -}}
{{- if and .Values.backend (ne .Values.flavour "other") -}}
{{- include "tee.refuse" (list .
  (printf "backend: %q is for flavour=other only" .Values.backend) "set flavour=other"
  (printf "backend：%q 只能与 flavour=other 一起使用" .Values.backend) "设置 flavour=other") -}}
{{- end -}}
{{- if hasKey .Values.backendOptions "flavour" -}}
{{- include "tee.refuse" (list .
  "backendOptions.flavour: the chart sets it" "use the value flavour"
  "backendOptions.flavour：由 chart 设置" "使用值 flavour") -}}
{{- end -}}
{{- range $name, $value := .Values.backendOptions -}}
{{- if or (kindIs "map" $value) (kindIs "slice" $value) (kindIs "invalid" $value) -}}
{{- include "tee.refuse" (list $root
  (printf "backendOptions.%s: %v is no text and no number" $name $value) "give a single value, or remove it"
  (printf "backendOptions.%s：%v 既不是文本也不是数字" $name $value) "给出单个值，或删除它") -}}
{{- end -}}
{{- end -}}
{{- $own := "CONFIG|CDI|SERVE|NODE_NAME|BACKEND|RESOURCE_NAME|LISTEN|HOST_ROOT|KUBELET_DIR|POD_RESOURCES_DIR" -}}
{{- range .Values.env -}}
{{- $variable := toString (get . "name" | default "") -}}
{{- if or (eq $variable "") (regexMatch (printf "^TEEPLUGIN_(%s)$" $own) $variable) (and $root.Values.nodeLibraries.enabled (eq $variable "LD_LIBRARY_PATH")) -}}
{{- include "tee.refuse" (list $root
  (printf "env: %q is set by the chart, or is no name" $variable) "remove it, and use the chart's value for it"
  (printf "env：%q 由 chart 设置，或不是名称" $variable) "删除它，使用 chart 的对应值") -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- if regexMatch "^--?(config|host-root|listen|resource-name|serve|node-name|kubelet-dir|pod-resources-dir|cdi|backend)(=|$)" (toString .) -}}
{{- include "tee.refuse" (list $root
  (printf "extraArgs: %q is set by the chart" .) "remove it; telemetry.port, resourceName, serve, limits and kubelet are the values for it"
  (printf "extraArgs：%q 由 chart 设置" .) "删除它；对应的值是 telemetry.port、resourceName、serve、limits 和 kubelet") -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* path, value */}}
{{- define "tee.checkDirectory" -}}
{{- if not (regexMatch "^/[^:]*[^/:]$" (index . 2)) -}}
{{- include "tee.refuse" (list (index . 0)
  (printf "%s: %q is not an absolute path of a directory" (index . 1) (index . 2)) "begin with / and leave out the one at the end"
  (printf "%s：%q 不是目录的绝对路径" (index . 1) (index . 2)) "以 / 开头，结尾不加 /") -}}
{{- end -}}
{{- if hasSuffix ".sock" (index . 2) -}}
{{- include "tee.refuse" (list (index . 0)
  (printf "%s: %q is a socket" (index . 1) (index . 2)) "name its directory: a restarted kubelet makes a new socket in it"
  (printf "%s：%q 是套接字" (index . 1) (index . 2)) "写它所在的目录：kubelet 重启后会在其中新建套接字") -}}
{{- end -}}
{{- end }}

{{- define "tee.checkNode" -}}
{{- include "tee.checkDirectory" (list . "kubelet.devicePluginsDir" .Values.kubelet.devicePluginsDir) -}}
{{- include "tee.checkDirectory" (list . "kubelet.podResourcesDir" .Values.kubelet.podResourcesDir) -}}
{{- include "tee.checkDirectory" (list . "nodeLibraries.directory" .Values.nodeLibraries.directory) -}}
{{- if and .Values.nodeLibraries.enabled (eq .Values.flavour "simulated") -}}
{{- include "tee.refuse" (list .
  "nodeLibraries.enabled: the simulated flavour loads no client library" "set nodeLibraries.enabled=false, or another flavour"
  "nodeLibraries.enabled：simulated 不加载客户端库" "设置 nodeLibraries.enabled=false，或换一种 flavour") -}}
{{- end -}}
{{- if and .Values.limits.enabled (eq .Values.flavour "optee") -}}
{{- include "tee.refuse" (list .
  "limits.enabled: OP-TEE can't limit a container" "set limits.enabled=false, or flavour=itrustee"
  "limits.enabled：OP-TEE 不能限制容器的内存" "设置 limits.enabled=false，或 flavour=itrustee") -}}
{{- end -}}
{{- if and .Values.limits.enabled .Values.privileged -}}
{{- include "tee.refuse" (list .
  "privileged: excludes limits.enabled, whose init container asks the TEE without privileges" "set limits.enabled=false, or privileged=false"
  "privileged：不能与 limits.enabled 同时使用，后者的 init 容器以非特权方式查询 TEE" "设置 limits.enabled=false，或 privileged=false") -}}
{{- end -}}
{{- if and .Values.limits.enabled (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) -}}
{{- include "tee.refuse" (list .
  (printf "limits.enabled: Kubernetes %s drops CDI devices" .Capabilities.KubeVersion.Version) "update to Kubernetes 1.29, or set limits.enabled=false"
  (printf "limits.enabled：Kubernetes %s 会丢弃 CDI 设备" .Capabilities.KubeVersion.Version) "升级到 Kubernetes 1.29，或设置 limits.enabled=false") -}}
{{- end -}}
{{- if and .Values.limits.remove .Values.limits.enabled -}}
{{- include "tee.refuse" (list .
  "limits.remove: excludes limits.enabled" "set limits.enabled=false to take the limits off the nodes"
  "limits.remove：不能与 limits.enabled 同时使用" "设置 limits.enabled=false 再从节点上移除") -}}
{{- end -}}
{{- include "tee.checkLibraries" . -}}
{{- include "tee.checkOwnKeys" (list . "podLabels" (list "name" "app.kubernetes.io/name" "app.kubernetes.io/instance")) -}}
{{- include "tee.checkOwnKeys" (list . "podAnnotations" (list "checksum/config" "kubectl.kubernetes.io/default-container" "prometheus.io/scrape" "prometheus.io/port" "prometheus.io/path")) -}}
{{- range $name, $value := .Values.nodeSelector -}}
{{- if not (or (kindIs "string" $value) (kindIs "invalid" $value)) -}}
{{- include "tee.refuse" (list $
  (printf "nodeSelector.%s: %v is not a string" $name $value) (printf "use quotes: %s: \"%v\", or --set-string" $name $value)
  (printf "nodeSelector.%s：%v 不是字符串" $name $value) (printf "加引号：%s: \"%v\"，或用 --set-string" $name $value)) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Each file is a volume with a name of its own, and so is each of extraVolumes. */}}
{{- define "tee.checkLibraries" -}}
{{- $names := list "config" "device-plugins" "pod-resources" "itrustee" "node" "dev" "cdi" "limits" "plugins" "plugins-registry" -}}
{{- range .Values.nodeLibraries.names -}}
{{- $name := include "tee.libraryVolume" . -}}
{{- if or (contains "/" .) (has $name $names) (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name)) -}}
{{- include "tee.refuse" (list $
  (printf "nodeLibraries.names: %q is no file name, or too much like another" .) "give names like libteec.so, and their directory as nodeLibraries.directory"
  (printf "nodeLibraries.names：%q 不是文件名，或与另一个过于相似" .) "使用类似 libteec.so 的名称，目录写入 nodeLibraries.directory") -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- $own := list -}}
{{- range .Values.extraVolumes -}}
{{- $name := toString (get . "name" | default "") -}}
{{- if or (has $name $names) (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name)) -}}
{{- include "tee.refuse" (list $
  (printf "extraVolumes: %q is no name, or that of another volume" $name) "give the volume another name"
  (printf "extraVolumes：%q 不是名称，或与其他卷同名" $name) "换一个名称") -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- $own = append $own $name -}}
{{- end -}}
{{- $paths := list "/etc/tee-device-plugin" "/host/dev" "/host/etc/cdi" "/host/run/tee-limit" "/host/var/itrustee" "/node" "/var/itrustee" "/var/lib/kubelet/device-plugins" "/var/lib/kubelet/pod-resources" -}}
{{- range .Values.extraVolumeMounts -}}
{{- $name := toString (get . "name" | default "") -}}
{{- if not (has $name $own) -}}
{{- include "tee.refuse" (list $
  (printf "extraVolumeMounts: %q is no volume of extraVolumes" $name) "add the volume there, or correct the name"
  (printf "extraVolumeMounts：extraVolumes 中没有卷 %q" $name) "在 extraVolumes 中添加该卷，或改正名称") -}}
{{- end -}}
{{- $path := toString (get . "mountPath" | default "") -}}
{{- if or (not (regexMatch "^/[^:]*$" $path)) (has $path $paths) -}}
{{- include "tee.refuse" (list $
  (printf "extraVolumeMounts: %q is no path, or that of another mount" $path) "give another absolute mountPath"
  (printf "extraVolumeMounts：%q 不是路径，或与其他挂载相同" $path) "换一个绝对路径作为 mountPath") -}}
{{- end -}}
{{- $paths = append $paths $path -}}
{{- end -}}
{{- end }}

{{/* path, keys that the chart sets */}}
{{- define "tee.checkOwnKeys" -}}
{{- $root := index . 0 -}}{{- $path := index . 1 -}}
{{- range $key := index . 2 -}}
{{- if hasKey (get $root.Values $path | default dict) $key -}}
{{- include "tee.refuse" (list $root
  (printf "%s.%s: the chart sets it" $path $key) "remove it, or use a key of your own"
  (printf "%s.%s：由 chart 设置" $path $key) "删除它，或使用自己的键") -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tee.checkMonitoring" -}}
{{- $monitoring := .Values.monitoring -}}
{{- if and $monitoring.prometheusRule.enabled $monitoring.scrapeAnnotations -}}
{{- include "tee.refuse" (list .
  (printf "monitoring.prometheusRule: its alerts look for the job %s, which only the podMonitor makes" (include "tee.fullname" .)) "enable podMonitor instead of scrapeAnnotations, or write the rule by deploy/monitoring/README.md"
  (printf "monitoring.prometheusRule：其告警查找 job %s，只有 podMonitor 会产生它" (include "tee.fullname" .)) "启用 podMonitor 代替 scrapeAnnotations，或按 deploy/monitoring/README.md 编写规则") -}}
{{- end -}}
{{- if and $monitoring.podMonitor.enabled $monitoring.scrapeAnnotations -}}
{{- include "tee.refuse" (list .
  "monitoring: podMonitor and scrapeAnnotations would have the pods scraped twice" "enable one of them"
  "monitoring：podMonitor 和 scrapeAnnotations 会使 Pod 被抓取两次" "只启用其中一个") -}}
{{- end -}}
{{- if not (regexMatch "^([1-9][0-9]+s|[1-9][0-9]*m)$" $monitoring.podMonitor.interval) -}}
{{- include "tee.refuse" (list .
  (printf "monitoring.podMonitor.interval: %q is not a time of 10s or more" $monitoring.podMonitor.interval) "use seconds or minutes, as in 30s or 1m"
  (printf "monitoring.podMonitor.interval：%q 不是 10s 或更长的时间" $monitoring.podMonitor.interval) "使用秒或分钟，例如 30s 或 1m") -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.from) (or $monitoring.podMonitor.enabled $monitoring.scrapeAnnotations) -}}
{{- include "tee.refuse" (list .
  "networkPolicy.from: it is empty, so Prometheus could not reach the metrics" "name Prometheus' namespace, as in - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}"
  "networkPolicy.from：为空，Prometheus 无法抓取指标" "写明 Prometheus 的命名空间，例如 - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}") -}}
{{- end -}}
{{- end }}
