"""The forging of one photograph: pairs of images in the dataset folder, and the part that lists them."""

import functools
import hashlib
import posixpath
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fakescan.forge.config import ForgeConfig
from fakescan.forge.folder import ForgeFolder, PhotographPart
from fakescan.forge.photographs import Photograph
from fakescan.storage.errors import classify
from fakescan.storage.objects import read_bytes
from fakevlm.data.record import FAKE, REAL, Record, Turn
from fakevlm.errors import ImageError
from fakevlm.forge import Pair, Severity, families_for, first_pair, shrink
from fakevlm.image_file import read_image
from fakevlm.prompt import PromptSpec

_DONOR_TRIES = 6
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True)
class Work:
    """All that a worker needs for any photograph."""

    config: ForgeConfig
    photographs: tuple[Photograph, ...]


def forge_photograph(work: Work, number: int) -> None:
    """Write the pairs of one photograph, then its part. The result depends on nothing but the settings and the files.

    Files of an earlier, unfinished attempt are overwritten with the same bytes. As a Ray task it returns nothing: the
    records are in the folder, and need not pass through the driver.
    """
    folder = ForgeFolder(work.config)
    folder.put_part(number, _forge(work, number, folder))


def _forge(work: Work, number: int, folder: ForgeFolder) -> PhotographPart:
    config, item = work.config, work.photographs[number]
    families = [name for name in families_for(item.category) if name in config.families]
    part = functools.partial(PhotographPart, photograph=item.path, split=item.split)
    if not families:
        return part(status="unsuitable")
    try:
        photo = _load(config, item)
    except ImageError as error:
        return part(status="unreadable", message=str(error))
    if photo is None:
        return part(status="too_small")
    donor_item, donor = _donor(work, number) if "splice" in families else (None, None)
    records: list[dict[str, object]] = []
    for index, (order, severity) in enumerate(_plan(config, families, item.generator(config.seed))):
        pair = first_pair(
            photo,
            families=order,
            severity=severity,
            rng=item.generator(config.seed, index),
            edge=config.edge,
            donor=donor,
        )
        if pair is None:
            continue
        taken_from = donor_item.path if donor_item is not None and pair.family == "splice" else None
        for record, data in _labelled(pair, item, index, taken_from):
            folder.put_image(record.image, data)
            records.append(record.to_json())
    return part(status="forged", records=tuple(records), flat=config.per_photo - len(records) // 2)


def _load(config: ForgeConfig, item: Photograph) -> Image.Image | None:
    """The photograph, reduced if it is large; None if it is too small. Raises ImageError when it cannot be read."""
    fs, root = config.input_store.filesystem(config.photographs)
    try:
        data = read_bytes(fs, posixpath.join(root, item.path))
    except (FileNotFoundError, PermissionError) as error:
        raise ImageError(*classify(error)) from None
    photo = read_image(data, max_pixels=config.max_pixels).rgb
    return shrink(photo, config.edge) if min(photo.size) >= config.edge else None


def _donor(work: Work, number: int) -> tuple[Photograph | None, Image.Image | None]:
    """Another photograph of the same split, for splices; None where there is no other that can be used."""
    item = work.photographs[number]
    others = [other for other in work.photographs if other.split == item.split and other.path != item.path]
    rng = item.generator(work.config.seed, work.config.per_photo)
    for _ in range(_DONOR_TRIES if others else 0):
        other = others[int(rng.integers(len(others)))]
        try:
            donor = _load(work.config, other)
        except ImageError:
            continue
        if donor is not None:
            return other, donor
    return None, None


def _plan(config: ForgeConfig, families: list[str], rng: np.random.Generator) -> list[tuple[tuple[str, ...], Severity]]:
    """For each pair the families to try in order, and the severity: both in turn, so that all come equally often."""
    order = [families[place] for place in rng.permutation(len(families))]
    severities = [config.severities[place] for place in rng.permutation(len(config.severities))]
    plan = []
    for index in range(config.per_photo):
        # After a round of all families every family meets the next severity.
        lap, start = divmod(index, len(order))
        severity = severities[(start + lap) % len(severities)]
        plan.append(((*order[start:], *order[:start]), severity))
    return plan


def _labelled(pair: Pair, item: Photograph, index: int, donor: str | None) -> list[tuple[Record, bytes]]:
    """The two records of a pair, real and fake, with their files."""
    key = hashlib.sha256(item.path.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    stem = _NOT_A_NAME.sub("-", posixpath.splitext(posixpath.basename(item.path))[0])[:40]
    name = f"{stem}-{key}-{index:04d}.{pair.encoding.extension}"
    labelled = []
    for label, kind, answer, data in (
        (REAL, "real", pair.real_answer, pair.real),
        (FAKE, "fake", pair.fake_answer, pair.fake),
    ):
        turns = Turn(from_="human", value=PromptSpec().question), Turn(from_="gpt", value=answer)
        forged = {"family": pair.family, "severity": pair.severity, "donor": donor} if label == FAKE else {}
        fields = {
            "image": f"{item.category}/{kind}/{name}",
            "label": label,
            "cate": item.category,
            "width": pair.edge,
            "height": pair.edge,
            "conversations": turns,
            "source": item.path,
            **{field: value for field, value in forged.items() if value is not None},
        }
        labelled.append((Record.model_validate(fields), data))
    return labelled
