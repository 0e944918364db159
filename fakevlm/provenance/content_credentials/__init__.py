"""C2PA manifests: who signed, whether it holds, and what the chain of manifests says of the origin.

The library validates; what its codes mean for us is decided here, by the codes and never by its one word for all of
them. It is loaded with the first manifest, and opens no connection: not for manifests elsewhere, not for certificates.
"""

from fakevlm.provenance.content_credentials.credentials import Credentials, read

__all__ = ["Credentials", "read"]
