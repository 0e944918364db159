"""A forge from its settings to its dataset: list, claim the folder, forge what is left, write the records."""

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fakescan.cluster import connect
from fakescan.forge.config import ForgeConfig
from fakescan.forge.folder import ForgeFolder, PhotographPart
from fakescan.forge.photographs import find_photographs
from fakescan.forge.work import Work, forge_photograph
from fakescan.terminal.counting import Counting
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ForgeOutcome:
    """How a forge ended."""

    photographs: Counter[str]
    """Photographs by status: `forged`, `too_small`, `unsuitable`, `unreadable`."""
    done_now: int
    """Photographs that this run did; the others were finished before."""
    unreadable: dict[str, str]
    """What is wrong with the unreadable ones, by path."""
    families: Counter[str]
    """Pairs by family."""
    flat: int
    """Pairs that were left out because no artifact would have shown."""
    records: dict[str, int]
    """Records by split."""


def run_forge(config: ForgeConfig, *, ray_address: str | None = None, verbose: bool = False) -> ForgeOutcome:
    """Forge every photograph that an earlier run has not, and write the dataset. Raises UserError for wrong settings.

    The dataset depends on the settings, the seed and the photographs, not on workers or on interruptions.
    """
    photographs = find_photographs(config)
    folder = ForgeFolder(config)
    folder.claim(photographs.fingerprint)
    finished = folder.finished()
    todo = [number for number in range(len(photographs.items)) if number not in finished]
    if todo:
        connect(ray_address, verbose=verbose)
        with Counting("photographs", len(photographs.items)) as counting:
            for _ in range(len(photographs.items) - len(todo)):
                counting.one_more()
            for _ in _forged(Work(config, photographs.items), todo, folder):
                counting.one_more()
    parts = list(folder.parts(len(photographs.items)))
    _refuse_nothing(config, folder, parts)
    return ForgeOutcome(
        photographs=Counter(part.status for part in parts),
        done_now=len(todo),
        unreadable={part.photograph: part.message or "" for part in parts if part.status == "unreadable"},
        families=Counter(record["family"] for part in parts for record in part.records if record["label"] == 0),
        flat=sum(part.flat for part in parts),
        records=folder.finish(parts),
    )


def _forged(work: Work, todo: list[int], folder: ForgeFolder) -> Iterator[None]:
    """Forge photographs on the cluster; yields once for each that is finished."""
    import ray
    from ray.exceptions import OutOfMemoryError, RayTaskError, WorkerCrashedError

    task = ray.remote(num_cpus=1, max_retries=2)(forge_photograph)
    shared = ray.put(work)
    at_once = work.config.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    waiting = iter(todo)
    running: dict[Any, int] = {}
    while True:
        for number in waiting:
            running[task.remote(shared, number)] = number
            if len(running) >= at_once:
                break
        if not running:
            return
        done, _ = ray.wait(list(running), num_returns=1)
        for reference in done:
            number = running.pop(reference)
            try:
                ray.get(reference)
            except (WorkerCrashedError, OutOfMemoryError) as error:
                # The photograph may be what killed it, three times over: it is reported, and the others go on.
                item = work.photographs[number]
                logger.warning("%s ended its process: %s", item.path, error)
                message = f"its process ended three times ({type(error).__name__})"
                part = PhotographPart(photograph=item.path, split=item.split, status="unreadable", message=message)
                folder.put_part(number, part)
            except RayTaskError as error:
                raise error.cause from None
            yield


def _refuse_nothing(config: ForgeConfig, folder: ForgeFolder, parts: list[PhotographPart]) -> None:
    """Raise UserError when no photograph gave a pair; the folder is freed for other settings."""
    if any(part.records for part in parts):
        return
    folder.forget()
    by_status = Counter(part.status for part in parts)
    if by_status["too_small"]:
        raise UserError(
            f"edge: {by_status['too_small']} of {len(parts)} photographs have a side under {config.edge} pixels, "
            "and no other can be used; lower --edge"
        )
    if by_status["unsuitable"]:
        raise UserError(
            f"families: none of {', '.join(config.families)} suits the photographs' categories; name others"
        )
    example = next((f" ({part.photograph}: {part.message})" for part in parts if part.message), "")
    raise UserError(f"photographs: none of {len(parts)} can be used{example}; name another folder")
