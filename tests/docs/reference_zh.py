"""What docs/configuration.zh-CN.md says of each setting, from the code's English words.

A word of the code without a translation is a KeyError: add it to WORDS.
"""

import re
from collections.abc import Mapping

from teeplugin.config.settings import SETTINGS, Setting
from teeplugin.daemon.reload import CHANGEABLE

WORDS: Mapping[str, str] = {
    # Descriptions.
    "memory of one unit, 512 KB or more": "一个单元的内存，至少 512 KB",
    "query the TEE this often; 0: at start only": "查询 TEE 的间隔；0 表示只在启动时查询",
    "interface to the TEE": "用哪个后端查询 TEE",
    "option of the backend; may be repeated": "后端的选项；可以重复给出",
    "for the TEE OS, like 600MiB": "留给 TEE OS 的内存，例如 600MiB",
    "resource that pods request": "Pod 申请的资源名",
    "TEE access by CDI only: off, on": "只通过 CDI 提供 TEE 访问：off、on",
    "device-plugin, or dra for claims": "device-plugin，或用于 ResourceClaim 的 dra",
    "the node object's name, with dra": "节点对象的名称，用于 dra",
    "what a fault's taint does to pods, with dra": "故障时污点对 Pod 的效果，用于 dra",
    "directory of device-plugins": "device-plugins 所在的目录",
    "the kubelet's pod-resources": "kubelet 的 pod-resources 目录",
    "directory of the node's own /dev": "节点的根目录所在的位置，其下有节点的 /dev",
    "metrics, probes; off: none": "指标和探针的地址；off 表示不提供",
    "text or json, one line a message": "text 或 json，每条消息一行",
    "debug, info, warning or error": "debug、info、warning 或 error",
    # Kinds of values.
    "a whole number of KB": "整数，单位为 KB",
    "a finite number of seconds": "有限的秒数",
    "a backend's name": "后端名",
    "KEY=VALUE": "KEY=VALUE",
    "a size of whole bytes": "整数字节的大小",
    "an extended resource's name": "扩展资源名",
    "a switch": "开关",
    "a way to serve the kubelet": "为 kubelet 提供内存的方式",
    "a node's name": "节点名",
    "a taint's effect": "污点的效果",
    "an existing directory": "已存在的目录",
    "a directory's path": "目录的路径",
    "an address": "地址",
    "a log format": "日志格式",
    "a log level": "日志级别",
    # Rules.
    "512 or more": "512 或更大",
    "0 or more": "0 或更大",
    "the name of an installed backend": "已安装的后端的名称",
    "an option of the backend and its value": "后端的选项及其值",
    "a number with K, M, G or T": "数字加 K、M、G 或 T",
    "vendor.domain/name": "厂商域名/名称",
    "on or off": "on 或 off",
    "device-plugin or dra": "device-plugin 或 dra",
    "the name that kubectl get nodes shows for this node": "kubectl get nodes 显示的本节点名称",
    "NoSchedule or NoExecute": "NoSchedule 或 NoExecute",
    "the one that has device-plugins, whatever the kubelet's --root-dir is": (
        "包含 device-plugins 的目录，与 kubelet 的 --root-dir 无关"
    ),
    "pod-resources in the kubelet's --root-dir; it need not be there yet": (
        "kubelet 的 --root-dir 下的 pod-resources；可以尚不存在"
    ),
    "where the node's root is mounted": "节点根目录的挂载位置",
    "HOST:PORT, :PORT for all addresses, or off": "HOST:PORT，:PORT 表示所有地址，或 off",
    "text or json": "text 或 json",
    # Defaults that have no value.
    "none": "无",
    "the backend's own": "由后端决定",
    "the host's name": "主机名",
    "in kubelet-dir": "在 kubelet-dir 下",
}
"""The code's English words, and how the Chinese page has them."""

_PLAIN = re.compile(r"[\w./:-]+")


def overview() -> str:
    """All settings in a table."""
    rows = (
        f"| [{key}](#{key}) | {_flags(setting)} | {_default(setting)} | "
        f"{WORDS[setting.description]} | {_change(setting)} |\n"
        for key, setting in SETTINGS.items()
    )
    head = "| 配置项 | 命令行参数 | 默认值 | 含义 | 生效时间 |\n|---|---|---|---|---|\n"
    return head + "".join(rows)


def facts(key: str) -> str:
    """One setting: how it is written, and what may be given."""
    setting = SETTINGS[key]
    return (
        f"{_flags(setting)}；在文件中写作 `{key}:`；环境变量为 `{setting.variable}`。\n"
        f"取值：{WORDS[setting.kind]}（{WORDS[setting.rule]}）。默认值：{_default(setting)}。"
        f"示例：`{setting.flags[0]} {setting.example}`。\n"
    )


def _flags(setting: Setting) -> str:
    return "、".join(f"`{flag} {setting.metavar}`" for flag in setting.flags)


def _default(setting: Setting) -> str:
    """A value is the same in both languages."""
    default = setting.default
    return WORDS[default] if default in WORDS or not _PLAIN.fullmatch(default) else default


def _change(setting: Setting) -> str:
    return "立即" if setting.attribute in CHANGEABLE else "重启后"


def used() -> frozenset[str]:
    """The English words that the settings have."""
    return frozenset(
        words
        for setting in SETTINGS.values()
        for words in (setting.description, setting.kind, setting.rule, setting.default)
    )
