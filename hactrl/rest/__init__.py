"""The REST interface, a WSGI application: `Api`."""

from hactrl.rest.api import Api

__all__ = ["Api"]
