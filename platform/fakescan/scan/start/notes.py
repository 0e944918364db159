"""What a scan notes about its run while parts come: their facts, for the next start, and what judged them."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import fakevlm
from fakescan.engine.config import EngineConfig
from fakescan.run.facts.cache import FactsCache, Kind
from fakescan.run.facts.written import read_back
from fakescan.run.folder import RunFolder
from fakescan.run.run_file import JudgedBy, RunFile
from fakescan.scan.tables import PartSummary
from fakescan.storage.errors import classify
from fakevlm.errors import UserError

logger = logging.getLogger(__name__)

_JUDGING_PACKAGES = ("torch", "vllm", "transformers", "pillow")
_OTHER_DIGITS = "scores may differ in their last digits"


def versions_of(engine: EngineConfig) -> dict[str, str]:
    """The versions here of what the scores come out of; of the simulated engine, fakescan's alone."""
    found = {"fakescan": fakevlm.__version__}
    for name in _JUDGING_PACKAGES if engine.kind == "vllm" else ():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class ScanNotes:
    """Is told of each part. Call `close` at the end, however it comes."""

    def __init__(
        self,
        folder: RunFolder,
        run: RunFile,
        engine: EngineConfig,
        observe: Callable[[PartSummary], None] | None = None,
        *,
        is_resumed: bool = False,
    ) -> None:
        self._folder, self._run, self._observe = folder, run, observe
        self._cache = FactsCache(folder, run, Kind.COUNTS)
        self._versions = versions_of(engine)
        self._devices: set[str] = set()
        """Those of this scan that run.json has."""
        self._earlier = {device for entry in run.judged_by for device in entry.devices}
        if is_resumed:
            self._warn_of_versions()
            self._warn_of_explanations()

    def __call__(self, part: PartSummary) -> None:
        """A part was written."""
        if part.facts:
            self._cache.add_part(read_back(part.shard, part.facts))
        device = part.engine.get("device")
        if device and device not in self._devices:
            self._devices.add(device)
            self._note(device)
        if self._observe is not None:
            self._observe(part)

    def close(self) -> None:
        """Write what is not written yet."""
        self._cache.flush()

    def _warn_of_versions(self) -> None:
        run = self._run
        before = run.judged_by[-1].versions if run.judged_by else {"fakescan": run.fakescan_version}
        changed = [
            f"{name} {before[name]} before, {now} now"
            for name, now in self._versions.items()
            if before.get(name, now) != now
        ]
        if changed:
            logger.warning("this run was judged with other versions: %s; %s", ", ".join(changed), _OTHER_DIGITS)

    def _warn_of_explanations(self) -> None:
        run = self._run
        if not run.has_own_words and run.identity.ask.explain != "none":
            logger.warning(
                "this run was begun by a version whose explanations open with the verdict's word, also where the "
                "model's own is the other one; rows from now on have the model's own words, and no column remark"
            )

    def _note(self, device: str) -> None:
        """Have run.json say that this device judged, with these versions."""
        if self._earlier and device not in self._earlier:
            others = ", ".join(sorted(self._earlier))
            logger.warning("this run was judged on %s before, and now on %s; %s", others, device, _OTHER_DIGITS)
        try:
            run = self._folder.load()
            if run is None or run.run_id != self._run.run_id:
                return
            *before, last = run.judged_by or (None,)
            if last is None or last.versions != self._versions:
                before, last = [*run.judged_by], JudgedBy(since=datetime.now(UTC), versions=self._versions)
            if device not in last.devices:
                last = last.model_copy(update={"devices": (*last.devices, device)})
                self._folder.save(run.model_copy(update={"judged_by": (*before, last)}))
        except (UserError, OSError) as error:
            logger.info("run.json does not say what judges: %s", classify(error)[1])
