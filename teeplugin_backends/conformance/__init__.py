"""The conformance kit: checks of every promise in base, for the tests of packages with a backend.

Only tests load it. It needs pytest to be run, but imports nothing of it.
"""

from teeplugin_backends.conformance.suite import BackendConformance

__all__ = ["BackendConformance"]
