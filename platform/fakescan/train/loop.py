"""One worker's training loop: batches, gradients, steps, checkpoints, evaluations."""

import math
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from fakescan.engine.model import open_model
from fakescan.storage.weather.waits import WAITS
from fakescan.terminal.json_logs.fields import set_process_fields
from fakescan.train.checkpoints.random_states import random_states, restore_random_states
from fakescan.train.checkpoints.room import check_room, remove_abandoned_folders, staging_folder
from fakescan.train.checkpoints.stored import fetch, last_checkpoint, reported_checkpoints
from fakescan.train.checkpoints.uploads import Uploads
from fakescan.train.config import TrainConfig
from fakescan.train.evaluation import evaluate
from fakescan.train.failure import Ending, cause_of
from fakescan.train.feed import Samples, for_training, open_samples, steps, with_prompt
from fakescan.train.folder import TrainFolder
from fakescan.train.metrics_actor import LOG, StepMetrics, TrainResult, log_lines, read_log
from fakescan.train.model import load
from fakescan.train.plan import learning_rate
from fakescan.train.preflight.needs import Needs
from fakescan.train.result.export import export, knows_generators
from fakescan.train.selection import Selection
from fakescan.train.stepper import (
    DeepSpeedStepper,
    Stepper,
    TorchStepper,
    deepspeed_config,
    import_deepspeed,
    prepare_environment,
)
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.data.collate import IGNORED, Batch
from fakevlm.data.record import Record
from fakevlm.errors import ImageError, UserError


@dataclass(frozen=True)
class Job:
    """All that a worker is sent."""

    config: TrainConfig
    gpu: bool
    metrics_actor: Any
    split: str | None
    eval_split: str | None
    lease_owner: str
    """Owner of the run's lease; workers write only while it is theirs."""
    bad_images: frozenset[str] = frozenset()
    """Images that cannot be read and are left out from the beginning."""
    needs: Needs | None = None
    """What the run takes, by the estimates."""


def train_worker(settings: dict[str, Any]) -> None:
    """Ray Train calls it in every worker. Why one fails, and that no restart changes it, is reported to the driver."""
    import ray

    job: Job = settings["job"]
    if ray.get(job.metrics_actor.fault.remote()) is not None:
        return  # Ray starts the workers again after any error, but a mistake of the user stays one
    prepare_environment(job.gpu)
    try:
        _train(job)
    except Exception as error:
        report_why(job, error)
        raise


def report_why(job: Job, error: Exception) -> None:
    """Tell the driver why a worker fails."""
    import ray

    if isinstance(error, UserError):
        ray.get(job.metrics_actor.report_fault.remote(str(error)))
        return
    cause = cause_of(error, job.config)
    if isinstance(cause, Ending):
        ray.get(job.metrics_actor.report_fault.remote(str(cause), is_mistake=False))
    elif cause is not None:
        ray.get(job.metrics_actor.report_cause.remote(cause))


def _train(job: Job) -> None:
    import ray.train
    import torch
    from ray.train.torch import get_device

    config = job.config
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    set_process_fields(rank=rank)
    WAITS.tell(lambda waits: job.metrics_actor.report_waits.remote(rank, [str(wait) for wait in waits]))
    device = get_device()
    sharers = context.get_local_world_size() if config.zero else 1
    remove_abandoned_folders()
    if job.needs is not None:
        room = job.needs.staging_room(sharers)
        check_room(room, "a checkpoint or the model is put together in")
    uploads = _uploads(job, rank, workers, sharers, device)
    bf16 = config.uses_bf16(gpu=job.gpu)
    seed_everything(config.seed + rank)
    threads = max(1, (os.cpu_count() or 1) // max(1, context.get_local_world_size()))
    if not job.gpu:
        torch.set_num_threads(threads)  # Ray has set it to the CPUs that it counts for the worker
    keep_alive = _partition_while_loading(config, bf16=bf16, gpu=job.gpu)
    checkpoint = with_prompt(open_model(config.model, config.model_store), config)
    samples = _counting(job, open_samples(config, checkpoint, job.split, job.bad_images.union(config.exclude)))
    held_out = _held_out(job, checkpoint)
    model = load(config, checkpoint, bf16=bf16, gpu=job.gpu)
    kind = DeepSpeedStepper if config.zero else TorchStepper
    stepper: Stepper = kind(model, config, device, bf16=bf16)
    del keep_alive
    samples, plan = for_training(samples, config)
    schedule = config.schedule_steps or plan.steps
    first, log = _resume(job, stepper, rank, sharers)
    selection = Selection(config.best_by, config.patience, log)
    if rank == 0:
        job.metrics_actor.report_start.remote(first)
    done = first
    batches_of = steps(
        samples, plan, first, rank=rank, workers=workers, micro_batch=config.micro_batch, threads=threads
    )
    for step, batches in enumerate(batches_of if not selection.is_over else (), first):
        if _is_stopped(job, rank, device):
            return
        factor = learning_rate(step, schedule, config.warmup_ratio)
        loss, norm = _step(stepper, batches, factor, check=step == first)
        done = step + 1
        metrics: dict[str, float] = {}
        is_due = done == plan.steps or done % config.checkpoint_every == 0
        if held_out is not None and _evaluates(config, done, is_due=is_due, is_last=done == plan.steps):
            others, indices = held_out
            rows = max(config.micro_batch, 16)
            metrics = evaluate(stepper, others, indices, rank=rank, workers=workers, rows=rows, threads=threads)
        is_best = selection.add(metrics)
        drawn = samples.used(plan.batch(step))
        entry = StepMetrics(
            step=done,
            at=time.time(),
            loss=loss,
            lr=config.lr * factor,
            grad_norm=norm,
            samples=len(drawn),
            fakes=sum(samples.dataset.records[index].is_fake for index in drawn),
            augmented=None if config.augment is None else samples.augmented(plan.batch(step), plan.showings(step)),
            metrics=metrics,
        )
        log.append(entry)
        if rank == 0:
            job.metrics_actor.add.remote(entry)
        if is_due or is_best or selection.is_over:
            uploads.wait()
            if _is_stopped(job, rank, device):
                return
            with uploads.checkpoint({"step": done, "loss": loss, **metrics}) as folder:
                bad = ray.get(job.metrics_actor.bad_images.remote()) if rank == 0 else {}
                stepper.save(folder, {"step": done, "bad_images": bad})
                torch.save(random_states(), folder / _random_file(rank))
                if rank == 0:
                    (folder / LOG).write_bytes(log_lines(log))
        if selection.is_over:
            break
    batches_of.close()
    if rank == 0:
        job.metrics_actor.report_activity.remote("uploading the last checkpoint")
    uploads.wait()
    if _is_stopped(job, rank, device, writes=True):
        return
    if rank == 0:
        job.metrics_actor.report_activity.remote("writing the model")
    exported = _go_to_best(job, stepper, selection, done, rank, sharers)
    result = TrainResult(
        steps=done,
        steps_per_epoch=plan.steps_per_epoch,
        samples=plan.samples,
        fakes=sum(record.is_fake for record in samples.dataset.records),
        left_out=sum(record.image in config.exclude for record in samples.dataset.records),
        bad_images=_bad_records(job, samples.dataset.records),
        stopped_early=done < plan.steps,
        exported_step=exported,
        held_out=None if held_out is None else held_out[0].dataset.split,
        metrics=next((entry.metrics for entry in log if entry.step == exported), {}),
    )
    knows = knows_generators(checkpoint, samples.dataset.records)
    export(stepper, config, replace(checkpoint, knows_generators=knows), result, rank)
    if rank == 0:
        ray.get(job.metrics_actor.report_result.remote(result))


def _evaluates(config: TrainConfig, done: int, *, is_due: bool, is_last: bool) -> bool:
    """Whether there is an evaluation after this step. Checkpoints that are compared are all evaluated."""
    every = config.eval_every or config.checkpoint_every
    return is_last or done % every == 0 or (is_due and config.best_by is not None)


def _uploads(job: Job, rank: int, workers: int, sharers: int, device: Any) -> Uploads:
    """Those of this worker. The first one counts the checkpoints."""
    folder = TrainFolder(job.config)

    def stored(seconds: float) -> None:
        if rank == 0:
            job.metrics_actor.report_checkpoint.remote(seconds)

    return Uploads(
        folder.fs,
        folder.path,
        sharers=sharers,
        workers=workers if job.config.zero else 1,
        may_write=lambda: folder.is_ours(job.lease_owner),
        pending_workers=partial(_sum_over_workers, device=device),
        on_failure=lambda error: report_why(job, error),
        on_stored=stored,
    )


def _go_to_best(job: Job, stepper: Stepper, selection: Selection, done: int, rank: int, sharers: int) -> int:
    """Load the best checkpoint where it is not the last one; the step of the weights that are loaded now."""
    if selection.attribute is None:
        return done
    reported = reported_checkpoints()
    best = selection.best_of([metrics for _, metrics in reported])
    if best is None or reported[best][1]["step"] == done:
        return done
    fs = TrainFolder(job.config).fs
    with staging_folder() as folder:
        fetch(fs, reported[best][0].path, folder, lambda name: stepper.wanted(name, rank), sharers=sharers)
        return int(stepper.load(folder)["step"])


def _counting(job: Job, samples: Samples) -> Samples:
    """The same, whose images that cannot be read are named, counted, and left out up to `max_bad_images`."""
    import ray

    known: set[str] = set()

    def count(record: Record, error: ImageError) -> None:
        if record.image in known:
            return
        call = job.metrics_actor.report_bad_image.remote(record.image, f"{error.code}: {error.message}")
        found, most = ray.get(call) + len(job.bad_images), job.config.max_bad_images
        if found > most:
            raise UserError(
                f"data: image {record.image}: {error.code}: {error.message}; that makes {found:,} bad images, above "
                f"max_bad_images {most:,}; find all with fakescan data validate --images, or raise it, or use exclude"
            )
        known.add(record.image)

    return replace(samples, on_bad_image=count)


def _bad_records(job: Job, records: Sequence[Record]) -> int:
    """Records that were left out because their image cannot be read."""
    import ray

    bad = job.bad_images.union(ray.get(job.metrics_actor.bad_images.remote())).difference(job.config.exclude)
    return sum(record.image in bad for record in records)


def _is_stopped(job: Job, rank: int, device: Any, *, writes: bool = False) -> bool:
    """Whether the driver has stopped the run. All workers hear the same, so that none is left waiting for another.

    Before something is written the first worker looks at the lease itself: a driver that is suspended, or cut off from
    its workers, cannot say that somebody else has taken the run over.
    """
    import ray

    stopped = False
    if rank == 0:
        stopped = ray.get(job.metrics_actor.is_stopped.remote())
        if writes and not stopped and not TrainFolder(job.config).is_ours(job.lease_owner):
            ray.get(job.metrics_actor.stop.remote())
            stopped = True
    return _sum_over_workers(float(stopped), device) > 0


def _step(stepper: Stepper, batches: list[Batch], factor: float, *, check: bool) -> tuple[float, float]:
    """One optimizer step: mean loss over all answer tokens of all workers, as much as each counts, and the gradient's
    norm.
    """
    import torch

    weight = _sum_over_workers(sum(batch.answer_weight for batch in batches), stepper.device)
    total = torch.zeros((), device=stepper.device)
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        loss = answer_loss(stepper, batch, last=last)
        total += loss.detach()
        stepper.backward(loss / (weight or 1.0), last=last)  # none where all of the step's records are left out
    mean = _sum_over_workers(float(total), stepper.device) / (weight or 1.0)
    if check and weight and not (math.isfinite(mean) and mean > 0):
        raise UserError(f"preflight: the loss of the first batch is {mean}, which nothing can be learnt from")
    if not math.isfinite(mean):
        raise UserError(f"lr: the loss has become {mean}; lower lr, or set precision to fp32")
    return mean, stepper.step(factor)


def answer_loss(stepper: Stepper, batch: Batch, *, last: bool = True) -> Any:
    """Sum of the cross entropy over the answers' tokens, as much as each counts, a float32 scalar with its graph."""
    import torch

    labels = torch.from_numpy(batch.labels).to(stepper.device)
    targets = labels[:, 1:]
    # Logits only where some row has an answer: over all positions they would be the biggest tensor of all.
    positions = (targets != IGNORED).any(0).nonzero().flatten()
    if not len(positions):
        positions = torch.tensor([0], device=labels.device)
    output = stepper.forward(
        last=last,
        input_ids=torch.from_numpy(batch.input_ids).to(stepper.device),
        attention_mask=torch.from_numpy(batch.attention_mask).to(stepper.device),
        pixel_values=torch.from_numpy(batch.pixel_values).to(stepper.device, stepper.base.dtype),
        logits_to_keep=positions,
    )
    logits, chosen = output.logits.float().flatten(0, 1), targets[:, positions].flatten()
    if batch.weights is None:
        return torch.nn.functional.cross_entropy(logits, chosen, ignore_index=IGNORED, reduction="sum")
    losses = torch.nn.functional.cross_entropy(logits, chosen, ignore_index=IGNORED, reduction="none")
    weights = torch.from_numpy(batch.weights).to(stepper.device)
    return (losses.unflatten(0, (len(weights), -1)).sum(1) * weights).sum()


def _held_out(job: Job, checkpoint: Checkpoint) -> tuple[Samples, list[int]] | None:
    if job.eval_split is None:
        return None
    left_out = job.bad_images.union(job.config.exclude)
    samples = _counting(job, open_samples(job.config, checkpoint, job.eval_split, left_out))
    count = len(samples.dataset.records)
    order = np.random.default_rng(job.config.seed).permutation(count)
    return samples, sorted(samples.used(order[: job.config.eval_limit or count]))


def _resume(job: Job, stepper: Stepper, rank: int, sharers: int) -> tuple[int, list[StepMetrics]]:
    """Load the run's last checkpoint, if there is one; the step to go on with, and the log up to it."""
    import torch

    checkpoint = last_checkpoint()
    if checkpoint is None:
        return 0, []
    fs = TrainFolder(job.config).fs
    with staging_folder() as folder:
        own = {_random_file(rank), LOG}
        fetch(fs, checkpoint.path, folder, lambda name: name in own or stepper.wanted(name, rank), sharers=sharers)
        state = stepper.load(folder)
        random_file, log = folder / _random_file(rank), folder / LOG
        if random_file.exists():  # there was no such worker if the number of workers has grown
            restore_random_states(torch.load(random_file, weights_only=False))
        for image, message in state.get("bad_images", {}).items() if rank == 0 else ():
            if image not in job.bad_images:  # those are counted already
                job.metrics_actor.report_bad_image.remote(image, message)
        return int(state["step"]), read_log(log.read_bytes()) if log.exists() else []


def _random_file(rank: int) -> str:
    return f"random_rank_{rank}_.pt"


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _partition_while_loading(config: TrainConfig, *, bf16: bool, gpu: bool) -> Any:
    """With ZeRO-3 the weights are spread over the workers as they are read; no worker ever holds all of them."""
    if config.zero != 3:
        return None
    from transformers.integrations import HfDeepSpeedConfig

    # It takes over the group that Ray has made; before that it counts one worker.
    import_deepspeed(gpu).init_distributed()
    return HfDeepSpeedConfig(deepspeed_config(config, bf16=bf16, gpu=gpu))


def _sum_over_workers(value: float, device: Any) -> float:
    import torch

    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(tensor)
    return float(tensor)
