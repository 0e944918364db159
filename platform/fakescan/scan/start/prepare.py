"""Before anything runs: find what is wrong, open the checkpoint, and start the run or find it as it was left."""

import pyarrow as pa

from fakescan.engine.factory import check_installed
from fakescan.engine.judging_options import JudgingOptions
from fakescan.engine.model import model_meaning, model_name, open_model
from fakescan.engine.start.number_types import first_types
from fakescan.run.folder import RunFolder
from fakescan.run.identity import Identity, Selection
from fakescan.run.parts import shard_rows_for
from fakescan.run.run_file import RunFile, differences, new_run, refuse_change
from fakescan.run.schema import check_kept_names
from fakescan.run.stability.strip import share_of
from fakescan.scan.config import ScanConfig
from fakescan.scan.start.continuation import begins_whole, continue_whole, remove_surplus
from fakescan.scan.start.explicit_images import ExplicitImages
from fakescan.scan.start.selection import write_run_manifest
from fakescan.scan.start.trust_list import named_list, write_list
from fakescan.sources.manifest import ROWS_PER_FILE
from fakescan.sources.reading import Listing
from fakescan.storage.preflight import check_readable, check_writable
from fakescan.storage.url import canonical, redact, redact_text
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.self_test import self_test
from fakevlm.errors import UserError, one_line


def check(config: ScanConfig) -> Checkpoint:
    """Everything that can be found wrong before an engine starts; returns the opened checkpoint."""
    check_inputs(config)
    check_writable(config.output, config.output_store)
    checkpoint = open_model(config.model, config.model_store, show_progress=True)
    self_test(checkpoint)
    return checkpoint


def check_inputs(config: ScanConfig) -> None:
    """What can be found wrong without the output and the checkpoint."""
    check_kept_names(config.keep_columns or ())
    check_installed(config.engine)
    check_readable(config.source, config.source_store)


def identity_of(
    config: ScanConfig, checkpoint: Checkpoint, options: JudgingOptions, images: ExplicitImages | None = None
) -> Identity:
    """The identity of the run that a configuration describes."""
    return Identity(
        selection=Selection(
            source=redact(canonical(config.source)),
            globs=config.globs,
            exclude=config.exclude,
            extensions=config.extensions,
            limit=config.limit,
            sample=config.sample,
            new_since=_earlier(config.new_since),
            keep_columns=config.keep_columns or (),
        ),
        engine=config.engine.kind,
        dtype=config.engine.dtype,
        engine_arguments=config.engine.arguments,
        weights_sha256=checkpoint.weights_sha256,
        trained=checkpoint.trained,
        prompt=checkpoint.prompt,
        image=checkpoint.image,
        # What a calibration was fitted to changes no row, and is not known of runs from before it was written down.
        ask=options.model_copy(update={"calibration": options.calibration.without_origin()}),
        max_bytes=config.max_bytes,
        max_pixels=config.max_pixels,
        conditions=images.conditions if images else ("none",),
        provenance=config.provenance,
        trust_list=named.sha256 if (named := named_list(config)) is not None else None,
        listed_sha256=images.sha256 if images else None,
        stability=config.stability,
        stability_share=share_of(config.stability, config.stability_share),
        unstable=config.unstable,
        decode=config.decode,
    )


def _earlier(runs: tuple[str, ...] | None) -> str | tuple[str, ...] | None:
    """As run.json has them: one as text, as it was before there could be several."""
    names = tuple(redact(canonical(run)) for run in runs or ())
    return names[0] if len(names) == 1 else names or None


def open_run(
    config: ScanConfig,
    folder: RunFolder,
    identity: Identity,
    checkpoint: Checkpoint,
    images: ExplicitImages | None = None,
    listing: Listing | None = None,
) -> RunFile:
    """The run that the output holds, or a new one. The caller has the run's lease.

    A start that came to no part binds nobody: with other settings the run begins anew. A run of a few images of its
    source is continued into the whole when they are no longer asked for. Raises UserError for one with other settings.
    """
    run = folder.load()
    if run is None:
        return start_run(config, folder, identity, checkpoint, images, listing)
    if resumes(folder, run, identity, config.shard_rows):
        remove_surplus(folder, run)
        return run
    if begins_whole(run, identity):
        return continue_whole(config, folder, run, identity, listing)
    folder.forget()
    return start_run(config, folder, identity, checkpoint, images, listing)


def resumes(folder: RunFolder, run: RunFile, identity: Identity, shard_rows: int | None) -> bool:
    """Whether a scan goes on with the output's run as it is; else it continues a sample, or begins anew.

    Raises UserError for a run with other settings that has parts, and for one whose manifest is another one now.
    """
    if begins_whole(run, identity):
        refuse_other_manifest(folder, run)
        return False
    if not differences(run, identity, shard_rows):
        refuse_other_manifest(folder, run)
        return True
    if len(folder.listing()):
        refuse_change(folder.url, run, identity, shard_rows)
    return False


def refuse_other_manifest(folder: RunFolder, run: RunFile) -> None:
    """Raise UserError where the manifest is not the one that the run was started with.

    The rows of a small one are read for it; those of a large one are left to `verify`.
    """
    reader = folder.manifest(run)
    info = reader.info
    is_right = (info.fingerprint, info.rows) == (run.manifest_fingerprint, run.rows)
    try:
        if is_right and run.rows <= ROWS_PER_FILE:
            is_right = reader.compute_fingerprint() == run.manifest_fingerprint
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise UserError(
            f"output: the manifest in {redact(folder.url)} cannot be read ({redact_text(one_line(error))}); restore "
            f"{run.manifest}/, or use another --output"
        ) from None
    if not is_right:
        raise UserError(
            f"output: {redact(folder.url)}/{run.manifest} is not the manifest that this run was started with (its "
            "fingerprint is another one); restore it, or use another --output"
        )


def start_run(
    config: ScanConfig,
    folder: RunFolder,
    identity: Identity,
    checkpoint: Checkpoint,
    images: ExplicitImages | None = None,
    listing: Listing | None = None,
) -> RunFile:
    """Write the manifest and run.json of a new run. Raises UserError when there is nothing to scan.

    `listing` is told where the number of objects can be read that the source has been seen to hold so far.
    """
    refuse_parts_of_no_run(folder)
    info, population = write_run_manifest(config, folder, images, listing)
    name, warning = model_name(config.model, config.engine, checkpoint)
    trust = write_list(folder, config)
    run = new_run(
        identity.model_copy(update={"trust_list": trust and trust.sha256}),
        name,
        warning,
        fingerprint=info.fingerprint,
        rows=info.rows,
        population=population,
        shard_rows=config.shard_rows or shard_rows_for(info.rows, info.known_bytes, identity.image),
        seen=info.seen,
        left_out=info.everything_left_out(),
        notes=info.notes,
        numbers=first_types(config.engine, checkpoint),
        listed_at=info.listed_at,
        meaning=model_meaning(config.engine, checkpoint),
        trust_list=trust,
    )
    folder.save(run)
    return run


def refuse_parts_of_no_run(folder: RunFolder) -> None:
    """Raise UserError for a folder that has parts although no run was started in it."""
    if len(folder.listing()):
        raise UserError(f"output: {redact(folder.url)} holds parts but no run.json; use an empty --output")
