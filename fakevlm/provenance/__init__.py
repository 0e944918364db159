"""What an image file itself says about its origin, read from its bytes: C2PA, IPTC, generators' texts, labels, EXIF.

found = read(data, trust=TrustLists.newest())
found.provenance, found.basis, found.generator, found.signer, found.detail

`read` never raises and opens no connection. It has no limit of time of its own, and it calls native code on hostile
bytes where a file has a C2PA manifest: call it where an image is decoded, in a process that may die. Importing this
package is cheap; the C2PA library is loaded with the first manifest.
"""

from fakevlm.provenance.reader import read, read_light
from fakevlm.provenance.record import MAX_DETAIL, Basis, Origin, Provenance
from fakevlm.provenance.trust import TrustLists
from fakevlm.provenance.words import sentence

__all__ = ["MAX_DETAIL", "Basis", "Origin", "Provenance", "TrustLists", "read", "read_light", "sentence"]
