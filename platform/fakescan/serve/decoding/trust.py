"""The trust list of a server: what it checks the signers of uploads against."""

from fakescan.serve.config import ServeConfig
from fakevlm.checkpoint.cache import cache_folder
from fakevlm.provenance import TrustLists


def trust_of(config: ServeConfig) -> TrustLists | None:
    """The list that the settings name, or the newest that was fetched to this node; None where no signer is checked.

    Raises UserError for a list that is none.
    """
    if not config.provenance:
        return None
    if config.trust_list is not None:
        return TrustLists.from_path(config.trust_list)
    return TrustLists.newest(cache_folder())
