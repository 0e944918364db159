"""The trust list of a run: what the signers of Content Credentials are checked against.

A copy lies in the run's folder, so that a run that is resumed checks all its rows against the same one, whatever has
been fetched since.
"""

import logging

from fakescan.run.folder import TRUST_LIST, RunFolder
from fakescan.run.run_file import RunFile, TrustListFacts
from fakescan.scan.config import ScanConfig
from fakescan.storage.objects import put_atomic, read_bytes
from fakescan.storage.url import redact
from fakevlm.checkpoint.cache import cache_folder
from fakevlm.errors import UserError
from fakevlm.provenance import TrustLists

logger = logging.getLogger(__name__)


def named_list(config: ScanConfig) -> TrustLists | None:
    """The list that the settings name; None where they name none. Raises UserError for one that is none."""
    if config.trust_list is None or not config.provenance:
        return None
    return TrustLists.from_path(config.trust_list)


def write_list(folder: RunFolder, config: ScanConfig) -> TrustListFacts | None:
    """Copy the list for a new run, the named one or the newest that was fetched; None where there is none."""
    if not config.provenance:
        return None
    trust = named_list(config) or TrustLists.newest(cache_folder())
    if trust is None:
        return None
    if warning := trust.warning():
        logger.warning("%s", warning)
    put_atomic(folder.fs, f"{folder.path}/{TRUST_LIST}", trust.pem.encode())
    return TrustListFacts(source=redact(trust.source), dated=trust.dated, sha256=trust.sha256)


def read_list(folder: RunFolder, run: RunFile) -> TrustLists | None:
    """The list of a run; None where its signers are not checked. Raises UserError where the copy is not the run's."""
    if run.trust_list is None:
        return None
    facts = run.trust_list
    try:
        pem = read_bytes(folder.fs, f"{folder.path}/{TRUST_LIST}").decode("ascii", "replace")
        trust = TrustLists.of([pem], facts.source, facts.dated)
    except (FileNotFoundError, UserError):
        trust = None
    if trust is None or trust.sha256 != facts.sha256:
        raise UserError(
            f"output: {redact(folder.url)}/{TRUST_LIST} is not the trust list that this run was started with; restore "
            "it, or use another --output"
        )
    return trust
