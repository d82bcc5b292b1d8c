"""A ResourceClaimTemplate for the TAs of a container, where the plugin runs with `serve: dra`."""

from typing import Final

from teeplugin.commands.sizing.estimate import Estimate
from teeplugin.dra.quantity import format_quantity
from teeplugin.policy.cdi import MOST_AMOUNTS
from teeplugin.policy.units import counted

DEVICE_CLASS: Final = "tee-ram"
"""The DeviceClass of the manifests of DRA mode."""

REQUEST: Final = "tee"

_TEMPLATE = """\
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata:
  name: {name}
spec:
  spec:
    devices:
      requests:
        - name: {request}
          exactly:
            deviceClassName: {device_class}
            capacity:
              requests:
                memory: {memory}
"""


def claim_template(name: str, estimate: Estimate) -> str:
    """Write the template, of whole units; `name` is safe in YAML."""
    rounded = estimate.rounded
    head = f"# {counted(rounded.units, 'unit')} of {estimate.precision_kb} KiB.\n"
    if rounded.units > MOST_AMOUNTS:
        head += (
            f"# Too many: a container gets at most {MOST_AMOUNTS} units. Give a larger "
            "--precision, to the plugin as well.\n"
        )
    body = _TEMPLATE.format(
        name=name,
        request=REQUEST,
        device_class=DEVICE_CLASS,
        memory=format_quantity(rounded.asked_bytes),
    )
    return head + body
