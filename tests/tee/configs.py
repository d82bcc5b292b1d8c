"""The configs.xml that the tests of the trusted application begin from."""

from __future__ import annotations

from tests.tee.build import SAMPLE_UUID


def configs_xml(**changes: str | None) -> str:
    defaults: dict[str, str | None] = {
        "service_name": "tee-memory",
        "uuid": SAMPLE_UUID,
        "instance_keep_alive": "true",
        "stack_size": "8192",
        "heap_size": "81920",
        "multi_command": "false",
        "multi_session": "true",
        "single_instance": "true",
    }
    values = defaults | changes
    tags = [f"<{tag}>{value}</{tag}>" for tag, value in values.items() if value is not None]
    basic = "".join(tag for tag in tags if tag.startswith(("<service", "<uuid")))
    rest = "".join(tag for tag in tags if not tag.startswith(("<service", "<uuid")))
    return (
        f"<ConfigInfo><TA_Basic_Info>{basic}</TA_Basic_Info>"
        f"<TA_Manifest_Info>{rest}</TA_Manifest_Info></ConfigInfo>"
    )
