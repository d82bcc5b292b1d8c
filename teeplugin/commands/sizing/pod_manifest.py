"""A pod's manifest as commented YAML.

By hand and not by a YAML library, because the comments are half of it. Everything that others wrote
and that stands in it is plain text by its rule, or quoted.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from teeplugin import __version__
from teeplugin.commands.sizing.claim import REQUEST, claim_template
from teeplugin.commands.sizing.estimate import Estimate
from teeplugin.commands.sizing.memory import kib_text
from teeplugin.config.settings import shown
from teeplugin.policy.units import counted

TA_DIRECTORY = "/var/itrustee/ta"
"""Where iTrustee's libteec looks for UUID.sec unless the CA names another path."""

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*(:[A-Za-z0-9_.-]+)*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}

_TEMPLATE = """\
apiVersion: v1
kind: Pod
metadata:
  name: {name}
spec:
  # The TEE keeps the containers on a node apart by their pid namespaces. Secure storage and derived
  # keys work in a container only if a hook on the node has registered it in the TEE.
  hostPID: false
  shareProcessNamespace: false
{resource_claims}\
  # A CA needs no access to the Kubernetes API.
  automountServiceAccountToken: false
  securityContext:
    # A TA knows its caller by the path of its program and the name of its user, so the image's
    # /etc/passwd has to name this user; and no user namespace, where the TEE would find no name.
{user_note}    runAsUser: {user_id}
    runAsGroup: {user_id}
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: {name}
      image: {image}
{command}\
      # Unprivileged: the plugin gives the container the mounts and device nodes to reach the TEE.
      securityContext:
        privileged: false
        allowPrivilegeEscalation: false
        # For a CA that writes files, mount an emptyDir where it does.
        readOnlyRootFilesystem: true
        capabilities:
          drop:
            - ALL
      resources:
{resources}"""

_LIMITS = """\
        limits:
          {resource_name}: {units}
"""

_CLAIMS = f"""\
        claims:
          - name: {REQUEST}
"""

_RESOURCE_CLAIMS = f"""\
  # Each pod gets a claim of its own, made from this template.
  resourceClaims:
    - name: {REQUEST}
      resourceClaimTemplateName: {{name}}
"""

_NOT_ROOT = """\
    # Not root: only root can open /dev/teelog (0600), unless the node's driver was built with
    # CONFIG_CONTAINER_TEE_CAPABLE. Without it the CA's and the TAs' log can't be read in here.
    # With this the pod passes Pod Security `restricted`.
    runAsNonRoot: true
"""


@dataclass(frozen=True, slots=True)
class PodSettings:
    """What the manifest says besides the number; every value has passed its rule.

    With `claim` the pod asks by a claim, whose template comes first.
    """

    name: str
    image: str
    user_id: int
    command: str | None
    claim: bool = False


def pod_manifest(estimate: Estimate, terms: PodSettings) -> str:
    """Write the manifest."""
    command = (
        "      # The path that the TAs' allowlists admit: argv[0] is what counts.\n"
        f"      command: [{json.dumps(terms.command, ensure_ascii=False)}]\n"
        if terms.command
        else "      # The image has to start the CA by the path that the TAs' allowlists admit.\n"
    )
    name = _scalar(terms.name)
    limits = _LIMITS.format(
        resource_name=_scalar(estimate.resource_name), units=estimate.rounded.units
    )
    body = _TEMPLATE.format(
        name=name,
        resource_claims=_RESOURCE_CLAIMS.format(name=name) if terms.claim else "",
        resources=_CLAIMS if terms.claim else limits,
        user_id=terms.user_id,
        user_note=_NOT_ROOT if terms.user_id else "",
        image=_scalar(terms.image),
        command=command,
    )
    if terms.claim:
        body = f"{claim_template(name, estimate)}---\n{body}"
    return "".join(f"# {line}\n" for line in _head(estimate)) + body


def _head(estimate: Estimate) -> Iterator[str]:
    rounded = estimate.rounded
    yield f"Made by tee-device-plugin pod {__version__}, for these TAs:"
    for each in estimate.applications:
        load = each.load
        yield (
            f"- {shown(each.description.name)}: {kib_text(each.needed_bytes)}, sessions: "
            f"{load.sessions}, instances: {load.instances}"
        )
        yield from (f"  {note}" for note in each.notes())
    yield (
        f"They need {kib_text(rounded.needed_bytes)}: {counted(rounded.units, 'unit')} where the "
        f"plugin's precision is {estimate.precision_kb} KiB, and only there."
    )
    yield "Run tee-device-plugin size to see how this was calculated, and how certain it is."
    yield "The image must contain libteec.so, the libraries it needs, and the signed TAs:"
    for each in estimate.applications:
        yield f"- {TA_DIRECTORY}/{each.description.uuid or 'UUID'}.sec"


def _scalar(text: str) -> str:
    """Write a text so that YAML reads it as itself."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)
