"""The real TEE, asked through the vendor's libteec; see backend for the whole of it."""

from teeplugin_backends.libteec.backend import LibTeec

__all__ = ["LibTeec"]
