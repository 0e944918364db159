"""What an evaluation is told."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fakescan.engine.config import EngineConfig, VllmConfig
from fakescan.settings.replicas import Replicas, parse_replicas
from fakescan.storage.store import Store
from fakevlm.verdict import Calibration

Benchmark = Literal["fakeclue", "loki", "dd-vqa", "folder"]


class EvaluateConfig(BaseModel):
    """One evaluation of one checkpoint on one set of labelled images."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    benchmark: Benchmark = "fakeclue"
    """The layout of the data; `folder` is any tree with folders named real and fake."""
    data: str
    """A dataset folder or file of records, or for `folder` the root of the tree; here or at a URL."""
    split: str | None = None
    """File of records in a dataset folder. Default: test where there is one, else the only one."""
    output: str
    """Folder or URL prefix of the evaluation; it holds the scans, metrics.json and report.html."""
    model: str | None = None
    """Local path, hub id or object-storage URL of the checkpoint. Default: the small one that is built in."""
    calibration: str | Calibration | None = None
    """A calibration, or the file or URL of one, in place of the checkpoint's own."""
    explain: bool = True
    """Whether explanations are generated and compared with the reference answers."""
    sample: Annotated[int, Field(ge=1)] | None = None
    """Evaluate on this many images, drawn at random from each class alike."""
    conditions: tuple[str, ...] = ()
    """Distortions under which the images are judged again; see `fakevlm.metrics.distortion`."""
    training: str | None = None
    """The dataset that the checkpoint was trained on; its near-duplicates among the images are counted."""
    training_split: str | None = None
    """File of records in it. Default: train where there is one, else the only one."""
    exclude_duplicates: bool = False
    """Leave the near-duplicates out of all numbers."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    """Longest explanation, in tokens."""
    retry_errors: bool = False
    """Judge the images again that ended in an error."""
    engine: EngineConfig = VllmConfig()
    """The engine and its settings; `kind: fake` simulates one."""
    replicas: Annotated[Replicas, BeforeValidator(parse_replicas)] = Replicas()
    """Engines that judge at once: a number, or a range such as 1-4."""
    gpus_per_replica: Annotated[float, Field(ge=0)] | None = None
    """GPUs for each engine. Default: 1 where the cluster has GPUs, else 0."""
    data_store: Store = Store()
    """Credentials and endpoint of the data."""
    output_store: Store = Store()
    """Credentials and endpoint of the output."""
    model_store: Store = Store()
    """Credentials and endpoint of the checkpoint."""


class CalibrateConfig(EvaluateConfig):
    """One calibration of one checkpoint; `conditions` are judged beside the images as they are."""

    fpr: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of the real images that the threshold may call fake."""
    missed: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the fake images that may pass as real; between that score and the threshold lies `uncertain`."""
