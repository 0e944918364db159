"""`fakescan calibrate --run`: a calibration from the labels of a run's own images."""

from typing import TYPE_CHECKING, Any

from fakescan.cli.audit.places import needed_labels, run_folder

if TYPE_CHECKING:
    from fakescan.audit.label_calibration import LabelCalibration


def calibrate_run(run: str | None, labels: tuple[str, ...], design: str, flags: dict[str, Any]) -> None:
    """Fit, write calibration.json, and say what came of it. Raises UserError."""
    from fakescan.audit.label_calibration import calibrate_with_labels
    from fakescan.evaluate.calibrate import FILE
    from fakescan.review.plan import COVERING
    from fakescan.review.sample_file import read_sample
    from fakescan.storage.objects import put_atomic
    from fakescan.storage.preflight import check_writable
    from fakescan.storage.url import redact
    from fakevlm.errors import UserError

    if run is None:
        raise UserError("run: --labels are of the images of a run; name it with --run")
    if flags.get("data"):
        raise UserError("data: name either --data or --run, not both")
    output = flags.get("output")
    if not output:
        raise UserError("output: missing; name it with --output")
    fpr, missed = (_share(flags, name, default) for name, default in (("fpr", 0.01), ("missed", 0.05)))
    chosen = next((one for one in COVERING if one == design), None)
    if chosen is None:
        raise UserError(f"design: {design!r} is none of {', '.join(COVERING)}; the others may not feed a calibration")
    folder = run_folder(run, flags)
    info = folder.open()
    sample = read_sample(folder, chosen)
    if sample is None or sample.plan.run_id != info.run_id:
        raise UserError(f"run: {redact(folder.url)} has no sample for {design}; draw one with `fakescan review sample`")
    found = calibrate_with_labels(
        sample, needed_labels(folder, labels), info.identity.ask.calibration, fpr=fpr, missed=missed
    )
    check_writable(output, folder.store)
    fs, path = folder.store.filesystem(output)
    calibration = found.calibration.model_copy(update={"weights_sha256": info.identity.weights_sha256 or None})
    put_atomic(fs, f"{path.rstrip('/')}/{FILE}", (calibration.model_dump_json(indent=1) + "\n").encode())
    _print(found, f"{redact(output).rstrip('/')}/{FILE}", redact(folder.url), fpr)


def _share(flags: dict[str, Any], name: str, default: float) -> float:
    from fakevlm.errors import UserError

    value = flags.get(name)
    share = default if value is None else float(value)
    if not 0 < share < 1:
        raise UserError(f"{name}: must be above 0 and below 1, got {share:g}")
    return share


def _print(found: "LabelCalibration", file: str, run: str, fpr: float) -> None:
    calibration = found.calibration
    print(
        f"temperature {calibration.temperature:.4g}, bias {calibration.bias:.4g}, "
        f"threshold {calibration.threshold:.4g}   (fitted on {found.labels:,} labels, {found.fakes:,} of them fake)"
    )
    if calibration.uncertain_low is not None:
        print(f"uncertain: scores from {calibration.uncertain_low:.4g} to the threshold")
    print(f"a score is the probability that an image of this run is fake, of which {calibration.prior:.2%} are")
    print(
        f"by the same labels, it flags {found.false_alarms:.2%} of the real images (wanted at most {fpr:.2%}) and "
        f"{found.found:.1%} of the fakes; the run flags {found.flagged_before:.2%} of all"
    )
    print(f"calibration: {file}")
    print(f"use it: fakescan rejudge {run} -o NEW --calibration {file}")
