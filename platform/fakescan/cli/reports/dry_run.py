"""Prints what a scan would do, for people and as JSON."""

from collections.abc import Iterator
from typing import Any

from fakescan.cli.reports.json_report import DryRunReport
from fakescan.run.stability.columns import VARIANTS
from fakescan.scan.config import ScanConfig
from fakescan.scan.dry_run.forecast import Forecast
from fakescan.storage.store import Store
from fakescan.storage.url import redact, scheme_of

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_DEFAULT_CREDENTIALS = {
    "s3": "as the AWS tools find them",
    "gs": "as Google's tools find them",
    "az": "as Azure's tools find them",
}


def print_forecast(forecast: Forecast) -> None:
    """Print all of it, a line for each subject."""
    for line in _lines(forecast):
        print(line)


def dry_run_report(forecast: Forecast) -> DryRunReport:
    """The object for a dry run."""
    config, info, run = forecast.config, forecast.info, forecast.run
    return DryRunReport(
        command="scan",
        source=redact(config.source),
        images=info.rows,
        population=forecast.population,
        known_bytes=info.known_bytes,
        unknown_sizes=forecast.unknown_sizes,
        left_out=info.everything_left_out(),
        notes=list(info.notes),
        run=redact(config.output),
        resumes=run is not None,
        run_id=None if run is None else run.run_id,
        rows_left=forecast.rows_left,
        strip_prefills=forecast.strip_prefills,
        shard_rows=forecast.sharding.shard_rows,
        parts=forecast.sharding.count,
        model=forecast.model,
        model_is_here=forecast.checkpoint is not None,
        warning=forecast.warning,
        lease=forecast.holder,
        settings=_settings(config),
        credentials=_credentials(config),
    )


def _lines(forecast: Forecast) -> Iterator[str]:
    config, info, run = forecast.config, forecast.info, forecast.run
    output = redact(config.output)
    yield "dry run: nothing is started and nothing is written"
    of_all = f" of {forecast.population:,}" if forecast.population != info.rows else ""
    yield f"source: {redact(config.source)}: {info.rows:,}{of_all} images, {_size(forecast)}"
    yield from info.account()
    if run is None:
        yield f"output: {output}: a new run"
    else:
        left = f"{forecast.rows_left:,} of {run.rows:,} rows left" if forecast.rows_left else "nothing is left to scan"
        yield f"output: {output}: resumes run {run.run_id}, {left}"
        yield "  the run keeps the images it was started with: the source is not listed again"
        if forecast.checkpoint is None:
            yield "  whether its settings are these is seen when the model is on this machine"
    if forecast.holder is not None:
        yield f"  {forecast.holder} may be writing this run at this moment"
    if config.slice is not None:
        yield f"slice: {config.slice}: {forecast.rows_left:,} rows to scan here, the rest by scans of the other slices"
    yield f"parts: {forecast.sharding.count:,}, of up to {forecast.sharding.shard_rows:,} images each"
    here = "" if forecast.checkpoint is not None else ", to be downloaded first"
    yield f"model: {forecast.model}{here}"
    yield f"verdicts: {_verdicts(forecast)}"
    if config.stability != "none":
        yield f"stability: {_stability(forecast)}"
    yield f"engines: {_engines(config)}"
    for name, words in _credentials(config).items():
        yield f"credentials of the {name}: {words}"
    if forecast.warning:
        yield f"warning: {forecast.warning}"


def _engines(config: ScanConfig) -> str:
    """How many engines of which kind, and where; their number on GPUs is known when the cluster is."""
    kind = config.engine.kind
    least = config.gpus_per_engine(0.0)
    many = config.gpus_per_engine(1.0)
    if config.replicas is None and many:
        where = "one for every GPU" if many == 1 else f"as many as the GPUs have room for, with {many:g} each"
        return f"{kind}, {where}" + ("" if least else "; one on CPUs where the cluster has none, nor could add one")
    gpus = "" if config.engine.is_simulated and not many else f", GPUs for each: {_gpus_in_words(least, many)}"
    return f"{config.replicas or 1} x {kind}{gpus}"


def _gpus_in_words(least: float, many: float) -> str:
    return f"{many:g}" if least == many else f"{many:g} where the cluster has any"


def _size(forecast: Forecast) -> str:
    known, unknown = forecast.info.known_bytes, forecast.unknown_sizes
    if unknown and unknown == forecast.info.rows:
        return "sizes unknown"
    size, unit = float(known), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    words = f"{size:.1f} {_UNITS[unit]}" if unit else f"{known} bytes"
    return f"{words} and {unknown:,} of unknown size" if unknown else words


def _verdicts(forecast: Forecast) -> str:
    config = forecast.config
    words = []
    if forecast.calibration is not None:
        words.append(f"fake from score {forecast.calibration.threshold:g}")
    elif config.threshold is not None:
        words.append(f"fake from score {config.threshold:g}")
    return ", ".join([*words, f"explanations for {'none' if config.explain == 'none' else config.explain}"])


def _stability(forecast: Forecast) -> str:
    prefills, rows = forecast.strip_prefills, forecast.rows_left
    each = f"{len(VARIANTS)} more prefills for each"
    if prefills is None:
        return f"{each} flagged image, so {len(VARIANTS)}% more of them for every 1% of the images that is flagged"
    more = f", {prefills / rows:.1%} more of them" if rows else ""
    known = f", if {forecast.flagged_share:.2%} are flagged, as so far" if forecast.flagged_share is not None else ""
    which = {"flagged": "flagged image", "sample": "image of the sample"}.get(forecast.config.stability, "image")
    return f"{each} {which}, about {prefills:,}{more}{known}"


def _settings(config: ScanConfig) -> dict[str, Any]:
    """Every setting but the stores, without secrets."""
    stores = {name for name, field in ScanConfig.model_fields.items() if field.annotation is Store}
    settings: dict[str, Any] = _without_secrets(config.model_dump(mode="json", exclude=stores))
    return settings


def _without_secrets(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: _without_secrets(item) for name, item in value.items()}
    return [_without_secrets(item) for item in value] if isinstance(value, list) else value


def _credentials(config: ScanConfig) -> dict[str, str]:
    """In words whose credentials are used for what, by the name of the flags for it."""
    places = {
        "source": (config.source, config.input_store),
        "output": (config.output, config.output_store),
        "model": (config.model or "", config.model_store),
    }
    return {name: words for name, (url, store) in places.items() if (words := _in_words(url, store))}


def _in_words(url: str, store: Store) -> str:
    """Empty for what needs none: this machine's files, and the hub."""
    scheme = scheme_of(url)
    if scheme in ("file", "memory"):
        return ""
    shown = store.model_dump(mode="json")["options"]
    options = [f"{name}={value}" if str(value).startswith("env:") else name for name, value in shown.items()]
    if store.anon:
        kind = "none, unsigned requests"
    elif store.profile and scheme == "s3":
        kind = f"AWS profile {store.profile}"
    else:
        kind = _DEFAULT_CREDENTIALS.get(scheme, "none")
    given = [f"options {', '.join(options)}"] if options else []
    endpoint = [f"at {redact(store.endpoint_url)}"] if store.endpoint_url else []
    region = [f"region {store.region}"] if store.region else []
    return ", ".join([*(given or [kind]), *endpoint, *region])
