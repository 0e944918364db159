"""The checks before a worker starts."""

import logging
import math
from dataclasses import dataclass

from fakescan.storage.preflight import check_writable
from fakescan.train.config import TrainConfig
from fakescan.train.model import PARTS, part_of
from fakescan.train.preflight.decoding import undecodable
from fakescan.train.preflight.inputs import Inputs
from fakescan.train.preflight.needs import Needs, check_disk, needs
from fakevlm.checkpoint.layout import read_weights
from fakevlm.checkpoint.self_test import self_test
from fakevlm.data.checks import check_records, check_warnings, warning_lines
from fakevlm.data.dataset import Dataset
from fakevlm.data.images import check_presence
from fakevlm.data.problem import DatasetProblem
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preflight:
    """What the checks have found."""

    longest: int
    """Tokens of the longest sample."""
    parameters: dict[str, int]
    """Weights of each part."""
    bad_images: dict[str, str]
    """Images that cannot be read, and may be left out, with the reasons."""

    def needs(self, config: TrainConfig, inputs: Inputs, *, bf16: bool) -> Needs:
        """What the run will take."""
        return needs(config, inputs.checkpoint, self.parameters, longest=self.longest, bf16=bf16)


def check(config: TrainConfig, inputs: Inputs) -> Preflight:
    """Check everything that a run needs. Raises UserError, one line that names the setting."""
    check_writable(config.storage_path, config.storage_store)
    return check_inputs(config, inputs)


def check_inputs(config: TrainConfig, inputs: Inputs) -> Preflight:
    """The same without touching the storage."""
    self_test(inputs.checkpoint)
    absent, versions = _check_records(config, inputs)
    samples, gone = inputs.samples, frozenset(config.exclude).union(absent)
    learnt = [record for record in samples.dataset.records if record.image not in gone]
    longest = int(samples.text.lengths(learnt, config.max_length).max(initial=0))
    parameters = dict.fromkeys(PARTS, 0)
    for name, shape in read_weights(inputs.checkpoint.path).shapes.items():
        parameters[part_of(name)] += math.prod(shape)
    needed = needs(
        config, inputs.checkpoint, parameters, longest=longest, bf16=config.uses_bf16(gpu=bool(config.gpus_per_worker))
    )
    check_disk(config, needed)
    bad = _bad_images(config, inputs, absent, versions)  # last, because it takes longest
    if all(record.image in bad for record in learnt):
        raise UserError("data: no record with a readable image is left to learn from")
    return Preflight(longest, parameters, bad)


def _check_records(config: TrainConfig, inputs: Inputs) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Images that are not there, and may be left out, with the reasons; and for each split the versions of the others.

    Raises UserError for anything else amiss with the records.
    """
    excluded = frozenset(config.exclude)
    datasets = _datasets(inputs)
    prompt = inputs.checkpoint.prompt
    for line in warning_lines(check_warnings(datasets, prompt)):
        logger.warning("data: %s", line)
    problems = [problem for problem in check_records(datasets, prompt) if problem.image not in excluded]
    absent: list[DatasetProblem] = []
    versions = []
    for dataset in datasets:
        found = check_presence(dataset)
        absent += [problem for problem in found.problems if problem.image not in excluded]
        versions.append({path: version for path, version in found.versions.items() if path not in found.paths})
    missing = {str(problem.image): problem.message for problem in absent}
    if len(missing) > config.max_bad_images:
        problems += absent
    if problems:
        more = f"; {len(problems):,} problems in all, see fakescan data validate" if len(problems) > 1 else ""
        raise UserError(f"data: {problems[0]}{more}")
    return missing, versions


def _bad_images(
    config: TrainConfig, inputs: Inputs, absent: dict[str, str], versions: list[dict[str, str]]
) -> dict[str, str]:
    """Images to leave out because they cannot be read, with the reasons. Raises UserError where they are too many."""
    bad = dict(absent)
    if config.decode_images:
        for dataset, known in zip(_datasets(inputs), versions, strict=True):
            bad |= undecodable(dataset, known, frozenset(config.exclude).union(bad))
    if len(bad) > config.max_bad_images:
        image, message = next(iter(bad.items()))
        count = f"{len(bad):,} images cannot be read, the first is {image}" if len(bad) > 1 else f"image {image}"
        raise UserError(
            f"data: {count}: {message}; see fakescan data validate --images, and raise max_bad_images from "
            f"{config.max_bad_images:,} to leave them out"
        )
    for image, message in bad.items():
        logger.warning("image %s is left out: %s", image, message)
    return bad


def _datasets(inputs: Inputs) -> list[Dataset]:
    return [one.dataset for one in (inputs.samples, inputs.held_out) if one is not None]
