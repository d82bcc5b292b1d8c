"""A TEE that the program acme-tee tells about; found by teeplugin as the backend `acme`."""

from acme_tee.backend import AcmeTee

__all__ = ["AcmeTee"]
