"""A Kubernetes device plugin that makes the memory of a TEE schedulable."""

# The next release. Builds of other commits put theirs here (hatch_build.py): asking the installed
# metadata would cost 40 ms of every start.
__version__ = "0.1.0"
