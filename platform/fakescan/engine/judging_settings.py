"""Settings of all that judges images: the checkpoint, how its logits become verdicts, and the engines."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from fakescan.engine.config import EngineConfig, VllmConfig, parse_engine
from fakescan.engine.judging_options import Explain, JudgingOptions, chosen_calibration, with_threshold
from fakescan.engine.start.gpu_share import whole_above_one
from fakescan.settings.flag import Flag, FlagGroup
from fakescan.settings.replicas import Replicas, parse_replicas
from fakescan.settings.strict_model import StrictModel
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.verdict import Calibration


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
    replicas: Annotated[Replicas, BeforeValidator(parse_replicas), Flag("N|N-M", group=FlagGroup.ENGINES)] = Replicas()
    """Engines that judge at once: a number, or a range such as 1-4 that follows the load."""
    gpus_per_replica: Annotated[
        float | None, Field(ge=0), AfterValidator(whole_above_one), Flag("N", group=FlagGroup.ENGINES)
    ] = None
    """GPUs for each engine: a fraction shares one, several work as one. Default: 1 where there are GPUs, else 0."""
    model_store: Store = Store()
    """Credentials and endpoint of the checkpoint."""

    def gpus_per_engine(self, cluster_gpus: float) -> float:
        """GPUs of one engine on a cluster that has so many."""
        if self.gpus_per_replica is not None:
            return self.gpus_per_replica
        return self.engine.default_gpus if cluster_gpus else 0.0

    def options(self, checkpoint: Checkpoint, explain: Explain, store: Store) -> JudgingOptions:
        """The options for an engine; `store` reads the calibration where it is a URL. Raises UserError."""
        stored = chosen_calibration(checkpoint, self.calibration, store)
        calibration = with_threshold(stored, self.threshold)
        return JudgingOptions(explain=explain, calibration=calibration, max_new_tokens=self.max_new_tokens)
