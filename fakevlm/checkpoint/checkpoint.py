"""Opens a FakeVLM in any layout it comes in, as a folder that vLLM and transformers load, or says what is missing.

checkpoint = open_checkpoint("lingcco/fakeVLM")
checkpoint.path, checkpoint.prompt.text(), checkpoint.image
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.cache import cache_folder
from fakevlm.checkpoint.card import read_card
from fakevlm.checkpoint.config_files import (
    feature_tokens,
    missing_processor_settings,
    read_config,
    read_image_spec,
    text_config,
)
from fakevlm.checkpoint.converted import loadable_copy
from fakevlm.checkpoint.layout import check_shapes, read_weights
from fakevlm.checkpoint.location import pinned, resolve
from fakevlm.checkpoint.progress import Report
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.checkpoint.weights_hash import files_sha256, weights_sha256
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import PromptSpec
from fakevlm.reading import Meaning
from fakevlm.verdict import Calibration


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked and can be loaded from `path`."""

    location: str
    """What the user gave: a folder, a hub id or a URL."""
    path: Path
    """The folder for vLLM and transformers: the original, or a converted view of it in the cache."""
    prompt: PromptSpec
    calibration: Calibration
    image: ImageSpec
    image_tokens: int
    """Tokens that one image takes in the prompt."""
    prompt_tokens: int
    """Tokens of the whole prompt, with the image and the answer prefix."""
    max_model_len: int
    """Positions that the language model knows."""
    fake_token_id: int
    """The token of the fake word after the answer prefix."""
    real_token_id: int
    """The token of the real word after the answer prefix."""
    trained: bool
    """False for a stand-in whose verdicts mean nothing."""
    notice: str
    """What whoever reads its verdicts must know; empty for nothing in particular."""
    weights_sha256: str
    """SHA-256 over the contents of the original weight files, in the order of their names."""
    dtype: str
    """Type of the stored weights as config.json says: float32, float16 or bfloat16."""
    pinned: str = ""
    """The same checkpoint for other nodes: a hub id with its commit, a local folder in full, a URL as it is."""
    files_sha256: str = ""
    """SHA-256 over configuration, processor and tokenizer, which change its words as the weights do."""
    weights_bytes: int = 0
    """Size of the weight files."""
    parameters: int = 0
    """Numbers in them, which take more memory in a wider type."""
    knows_generators: bool = True
    """False for a model that has learnt no generated images: a low score says only that it found no forgery."""

    @property
    def meaning(self) -> Meaning:
        """What its verdicts are worth."""
        if not self.trained:
            return Meaning.NONE
        return Meaning.FULL if self.knows_generators else Meaning.FORGERIES


def open_checkpoint(
    location: str,
    *,
    storage_options: dict[str, Any] | None = None,
    cache_dir: Path | None = None,
    show_progress: bool = False,
    report: Report | None = None,
) -> Checkpoint:
    """Opens the checkpoint at a local path, a hub id (`owner/name` or `owner/name@revision`) or an fsspec URL.

    Downloads and converted views are kept in `cache_dir` (default: the user's cache folder), those of the hub in its
    own cache. With `show_progress` a download is visible on stderr, and so is the hashing of large weights; `report`
    hears of both. A download that broke off goes on where it stopped; of several processes on a node one does each.
    Imports neither torch nor transformers. Raises UserError, one line that names what is missing or does not fit.
    """
    cache = cache_folder(cache_dir)
    folder = resolve(location, storage_options=storage_options, cache_dir=cache_dir, show=show_progress, report=report)
    config = read_config(folder)
    card = read_card(folder)
    tokens = PromptTokens(folder)
    image = read_image_spec(folder)
    weights = read_weights(folder)
    check_shapes(weights, config, folder)
    additions = missing_processor_settings(folder, config)
    text = card.prompt.text()
    image_tokens = feature_tokens(config)
    stored = config.get("dtype") or config.get("torch_dtype") or text_config(config).get("torch_dtype")
    sha256 = weights_sha256(weights, cache, show=show_progress, report=report)
    return Checkpoint(
        location=location,
        path=loadable_copy(folder, weights, sha256, additions, cache, report),
        prompt=card.prompt,
        calibration=card.calibration,
        image=image,
        image_tokens=image_tokens,
        prompt_tokens=len(tokens.encode(text)) - 1 + image_tokens,
        max_model_len=text_config(config)["max_position_embeddings"],
        fake_token_id=tokens.next_token(text, card.prompt.fake_word),
        real_token_id=tokens.next_token(text, card.prompt.real_word),
        trained=card.trained,
        notice=card.notice,
        weights_sha256=sha256,
        dtype=str(stored or "float32").removeprefix("torch."),
        pinned=pinned(location, folder),
        files_sha256=files_sha256(folder),
        weights_bytes=sum(file.stat().st_size for file in weights.files),
        parameters=sum(math.prod(shape) for shape in weights.shapes.values()),
        knows_generators=card.knows_generators,
    )
