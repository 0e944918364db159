"""Images of a benchmark as pictures, outside the scan: for hashes and for the report."""

from PIL import Image

from fakescan.scan.config import ScanConfig
from fakescan.storage.errors import store_errors
from fakescan.storage.store import Store
from fakevlm.errors import ImageError
from fakevlm.image_file import read_image

_MAX_PIXELS: int = ScanConfig.model_fields["max_pixels"].default


def read_picture(uri: str, store: Store) -> Image.Image | None:
    """The RGB picture at an address; None where it cannot be read, of which the scan says why."""
    filesystem, path = store.filesystem(uri)
    try:
        return read_image(filesystem.cat_file(path), max_pixels=_MAX_PIXELS).rgb
    except ImageError:
        return None
    except store_errors():
        return None
