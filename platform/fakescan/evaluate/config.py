"""The settings of an evaluation and of a calibration."""

from typing import Annotated, Literal

from pydantic import Field

from fakescan.engine.judging_settings import JudgingSettings
from fakescan.settings.flag import Flag, FlagGroup
from fakescan.storage.store import Store

BenchmarkName = Literal["fakeclue", "loki", "dd-vqa", "folder"]


class EvaluateConfig(JudgingSettings):
    """One evaluation of one checkpoint on one set of labelled images."""

    benchmark: Annotated[BenchmarkName, Flag("fakeclue|loki|dd-vqa|folder", group=FlagGroup.DATA)] = "fakeclue"
    """Layout of the data; `folder` is any tree with folders named real and fake, or as `--label` says."""
    data: Annotated[str, Flag("DATA", group=FlagGroup.DATA)]
    """Dataset folder or file of records, or for `folder` the root of the tree; here or at a URL."""
    split: Annotated[str | None, Flag("NAME", group=FlagGroup.DATA)] = None
    """File of records in a dataset folder. Default: test where there is one, else the only one."""
    image_root: Annotated[str | None, Flag("PREFIX", group=FlagGroup.DATA)] = None
    """What the records' image paths begin with and is taken off them, such as another machine's. Default: none."""
    image_folder: Annotated[str | None, Flag("FOLDER", group=FlagGroup.DATA)] = None
    """Folder that image paths count from, in the store of the data. Default: that of the dataset."""
    labels: Annotated[tuple[str, ...], Flag("NAME=real|fake", "--label", multiple=True, group=FlagGroup.DATA)] = ()
    """What a folder's name means, such as `ai=fake`. Default: `real`, `fake`, `0_real` and `1_fake` are known."""
    output: Annotated[str, Flag("URL", "-o/--output", group=FlagGroup.OUTPUT)]
    """Folder or URL prefix of the evaluation, which holds the scans, metrics.json and report.html; resumed if begun."""
    explain: bool = True
    """Whether explanations are generated and compared with the reference answers; `--no-explain` turns it off."""
    sample: Annotated[int | None, Field(ge=1), Flag("N", group=FlagGroup.DATA)] = None
    """Only this many images, drawn at random; the share of fakes stays the same. Default: all images."""
    conditions: tuple[str, ...] = ()
    """Distortions under which the images are judged again, from `fakevlm.metrics.distortion`; set by `--robustness`."""
    training: Annotated[str | None, Flag("DATA", group=FlagGroup.DATA)] = None
    """The dataset that the checkpoint was trained on; its near-duplicates in the data are counted. Default: none."""
    training_split: Annotated[str | None, Flag("NAME", group=FlagGroup.DATA)] = None
    """File of records in that dataset. Default: train where there is one, else the only one."""
    exclude_duplicates: Annotated[bool, Flag(group=FlagGroup.MEASURES)] = False
    """Leave the near-duplicates out of all numbers."""
    retry_errors: Annotated[bool, Flag(group=FlagGroup.FAULTS)] = False
    """Judge the images that ended in an error again."""
    data_store: Store = Store()
    """Credentials and endpoint of the data."""
    output_store: Store = Store()
    """Credentials and endpoint of the output."""


class CalibrateConfig(EvaluateConfig):
    """One calibration of one checkpoint; `conditions` are judged beside the images as they are.

    `calibration` and `threshold` are ignored: they are what is fitted.
    """

    fpr: Annotated[float, Field(gt=0, lt=1), Flag("SHARE", group=FlagGroup.MEASURES)] = 0.01
    """Share of the real images that the threshold may call fake."""
    missed: Annotated[float, Field(gt=0, lt=1), Flag("SHARE", group=FlagGroup.MEASURES)] = 0.05
    """Share of the fake images that may pass as real; between that score and the threshold lies `uncertain`."""
