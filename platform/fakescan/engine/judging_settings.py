"""Settings of all that judges images: the checkpoint, how its logits become verdicts, and the engines."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fakescan.engine.config import EngineConfig, VllmConfig, parse_engine
from fakescan.engine.judging_options import Explain, JudgingOptions, chosen_calibration, with_threshold
from fakescan.engine.start.gpu_share import whole_above_one
from fakescan.settings.flag import Flag, FlagGroup
from fakescan.settings.replicas import Replicas, parse_chosen_replicas
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError
from fakevlm.verdict import Calibration

DeviceChoice = Literal["auto", "cuda", "cpu"]


class JudgingSettings(StrictModel):
    """The settings of every job that judges images. Each is stated here alone: flags and docs come from the fields."""

    model: Annotated[str | None, Flag("MODEL", group=FlagGroup.VERDICTS)] = None
    """Checkpoint: local path, hub id or URL (for real verdicts: lingcco/fakeVLM). Default: the small one built in."""
    threshold: Annotated[float | None, Field(gt=0, lt=1), Flag("SCORE", group=FlagGroup.VERDICTS)] = None
    """Score from which an image counts as fake. Default: the calibration's."""
    calibration: Annotated[str | Calibration | None, Flag("FILE", group=FlagGroup.VERDICTS)] = None
    """File or URL that `fakescan calibrate` wrote, or its contents. Default: the checkpoint's own calibration."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096), Flag("N", group=FlagGroup.VERDICTS)] = 256
    """Longest explanation, in tokens."""
    engine: Annotated[EngineConfig, BeforeValidator(parse_engine), Flag("vllm|fake", group=FlagGroup.ENGINES)] = (
        VllmConfig()
    )
    """The engine and its settings; `fake` simulates one, and its verdicts mean nothing."""
    replicas: Annotated[
        Replicas | None, BeforeValidator(parse_chosen_replicas), Flag("N|N-M", group=FlagGroup.ENGINES)
    ] = None
    """Engines at once: a number, or a range such as 1-4 that follows the load. Default: every GPU; 1 on CPUs."""
    gpus_per_replica: Annotated[
        float | None, Field(ge=0), AfterValidator(whole_above_one), Flag("N", group=FlagGroup.ENGINES)
    ] = None
    """GPUs for each engine: a fraction shares one, several work as one. Default: 1 where there are or could be GPUs."""
    device: Annotated[DeviceChoice, Flag("auto|cuda|cpu", group=FlagGroup.ENGINES)] = "auto"
    """Where engines run: on GPUs if there are some or could be (auto), on nothing else (cuda), or never (cpu)."""
    model_store: Store = Store()
    """Credentials and endpoint of the checkpoint."""

    @model_validator(mode="after")
    def _one_device(self) -> Self:
        gpus = self.gpus_per_replica
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_replica: above 1 it must be a whole number, not {gpus:g}")
        if self.device == "cpu" and gpus:
            raise ValueError(f"device: cpu and gpus_per_replica {gpus:g} exclude each other; give one of them")
        if self.device == "cuda" and gpus == 0:
            raise ValueError("device: cuda and gpus_per_replica 0 exclude each other; give one of them")
        return self

    def gpus_per_engine(self, reachable_gpus: float) -> float:
        """GPUs of one engine, 0 for one on CPUs. `reachable_gpus`: those that are there or could be added."""
        if self.device == "cpu":
            return 0.0
        if self.gpus_per_replica is not None:
            return self.gpus_per_replica
        if self.device == "cuda":
            return self.engine.default_gpus or 1.0
        return self.engine.default_gpus if reachable_gpus else 0.0

    def refuse_without_gpus(self, reachable_gpus: float) -> None:
        """Raise UserError where `device` asks for a GPU and there is none, nor will be."""
        if self.device == "cuda" and not reachable_gpus:
            raise UserError(
                "device: cuda needs a GPU; there is none, and no autoscaler that could add one; "
                "use --device auto or --device cpu"
            )

    def options(self, checkpoint: Checkpoint, explain: Explain, store: Store) -> JudgingOptions:
        """The options for an engine; `store` reads the calibration where it is a URL. Raises UserError."""
        stored = chosen_calibration(checkpoint, self.calibration, store)
        calibration = with_threshold(stored, self.threshold)
        return JudgingOptions(explain=explain, calibration=calibration, max_new_tokens=self.max_new_tokens)
