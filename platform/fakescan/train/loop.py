"""One worker's training loop: batches, gradients, steps, checkpoints, evaluations."""

import math
import os
import random
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fakescan.engine.model import open_model
from fakescan.terminal.json_logs.fields import set_process_fields
from fakescan.train.checkpoints import fetch, report
from fakescan.train.config import TrainConfig
from fakescan.train.evaluation import evaluate
from fakescan.train.export import export, knows_generators
from fakescan.train.feed import Samples, steps
from fakescan.train.metrics_actor import LOG, StepMetrics, log_lines, read_log
from fakescan.train.model import load
from fakescan.train.plan import PADDING, Plan, learning_rate
from fakescan.train.stepper import (
    DeepSpeedStepper,
    Stepper,
    TorchStepper,
    deepspeed_config,
    import_deepspeed,
    prepare_environment,
)
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.checkpoint.tokens import PromptTokens
from fakevlm.data.collate import IGNORED, Batch, Collator
from fakevlm.data.dataset import open_dataset
from fakevlm.errors import UserError


@dataclass(frozen=True)
class Job:
    """All that a worker is sent."""

    config: TrainConfig
    gpu: bool
    metrics_actor: Any
    split: str | None
    eval_split: str | None


def train_worker(settings: dict[str, Any]) -> None:
    """Ray Train calls it in every worker. Mistakes of the user, which no restart fixes, are reported to the driver."""
    import ray

    job: Job = settings["job"]
    if ray.get(job.metrics_actor.fault.remote()) is not None:
        return  # Ray starts the workers again after any error, but a mistake of the user stays one
    prepare_environment(job.gpu)
    try:
        _train(job)
    except UserError as error:
        ray.get(job.metrics_actor.report_fault.remote(str(error)))
        raise


def _train(job: Job) -> None:
    import ray.train
    import torch
    from ray.train.torch import get_device

    config = job.config
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    set_process_fields(rank=rank)
    device = get_device()
    bf16 = config.uses_bf16(gpu=job.gpu)
    seed_everything(config.seed + rank)
    threads = max(1, (os.cpu_count() or 1) // max(1, context.get_local_world_size()))
    if not job.gpu:
        torch.set_num_threads(threads)  # Ray has set it to the CPUs that it counts for the worker
    keep_alive = _partition_while_loading(config, bf16=bf16, gpu=job.gpu)
    checkpoint = with_prompt(open_model(config.model, config.model_store), config)
    samples = open_samples(config, checkpoint, job.split)
    held_out = _held_out(job, checkpoint)
    model = load(config, checkpoint, bf16=bf16, gpu=job.gpu)
    kind = DeepSpeedStepper if config.zero else TorchStepper
    stepper: Stepper = kind(model, config, device, bf16=bf16)
    del keep_alive
    plan = Plan(len(samples.dataset.records), config.batch_size, config.epochs, config.max_steps, config.seed)
    first, log = _resume(stepper, rank)
    if rank == 0:
        job.metrics_actor.report_start.remote()
    for step, batches in enumerate(
        steps(samples, plan, first, rank=rank, workers=workers, micro_batch=config.micro_batch, threads=threads), first
    ):
        if _is_stopped(job, rank, device):
            return
        factor = learning_rate(step, plan.steps, config.warmup_ratio)
        loss, norm = _step(stepper, batches, factor, check=step == first)
        done = step + 1
        metrics: dict[str, float] = {}
        last = done == plan.steps
        if held_out is not None and (last or done % (config.eval_every or config.checkpoint_every) == 0):
            others, indices = held_out
            rows = max(config.micro_batch, 16)
            metrics = evaluate(stepper, others, indices, rank=rank, workers=workers, rows=rows, threads=threads)
        if rank == 0:
            entry = StepMetrics(
                step=done,
                at=time.time(),
                loss=loss,
                lr=config.lr * factor,
                grad_norm=norm,
                samples=int((plan.batch(step) != PADDING).sum()),
                metrics=metrics,
            )
            log.append(entry)
            job.metrics_actor.add.remote(entry)
        if last or done % config.checkpoint_every == 0:
            began = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="fakescan-") as folder:
                stepper.save(Path(folder), {"step": done})
                torch.save(random_states(), Path(folder) / _random_file(rank))
                if rank == 0:
                    (Path(folder) / LOG).write_bytes(log_lines(log))
                report(Path(folder), {"step": done, "loss": loss, **metrics})
            if rank == 0:
                job.metrics_actor.report_checkpoint.remote(time.monotonic() - began)
    if not _is_stopped(job, rank, device):
        knows = knows_generators(checkpoint, samples.dataset.records)
        export(stepper, config, replace(checkpoint, knows_generators=knows), rank)


def _is_stopped(job: Job, rank: int, device: Any) -> bool:
    """Whether the driver has stopped the run. All workers hear the same, so that none is left waiting for another."""
    import ray

    return _sum_over_workers(float(rank == 0 and ray.get(job.metrics_actor.is_stopped.remote())), device) > 0


def _step(stepper: Stepper, batches: list[Batch], factor: float, *, check: bool) -> tuple[float, float]:
    """One optimizer step: mean loss over all answer tokens of all workers, and the gradient's norm."""
    import torch

    tokens = _sum_over_workers(float(sum(batch.answer_tokens for batch in batches)), stepper.device)
    total = torch.zeros((), device=stepper.device)
    for number, batch in enumerate(batches):
        last = number == len(batches) - 1
        loss = answer_loss(stepper, batch, last=last)
        total += loss.detach()
        stepper.backward(loss / tokens, last=last)
    mean = _sum_over_workers(float(total), stepper.device) / tokens
    if check and not (math.isfinite(mean) and mean > 0):
        raise UserError(f"preflight: the loss of the first batch is {mean}, which nothing can be learnt from")
    if not math.isfinite(mean):
        raise UserError(f"lr: the loss has become {mean}; lower lr, or set precision to fp32")
    return mean, stepper.step(factor)


def answer_loss(stepper: Stepper, batch: Batch, *, last: bool = True) -> Any:
    """Sum of the cross entropy over the answers' tokens, a float32 scalar with its graph."""
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
    logits = output.logits.float()
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets[:, positions].flatten(), ignore_index=IGNORED, reduction="sum"
    )


def open_samples(config: TrainConfig, checkpoint: Checkpoint, split: str | None) -> Samples:
    """The records of a split for a checkpoint."""
    fs, path = config.data_store.filesystem(config.data)
    text = Collator(checkpoint.path, checkpoint.prompt, checkpoint.image_tokens)
    return Samples(open_dataset(path, fs, split=split), checkpoint, text)


def with_prompt(checkpoint: Checkpoint, config: TrainConfig) -> Checkpoint:
    """The checkpoint with the prompt that it is trained with."""
    if config.prompt is None:
        return checkpoint
    tokens, text = PromptTokens(checkpoint.path), config.prompt.text()
    return replace(
        checkpoint,
        prompt=config.prompt,
        prompt_tokens=len(tokens.encode(text)) - 1 + checkpoint.image_tokens,
        fake_token_id=tokens.next_token(text, config.prompt.fake_word),
        real_token_id=tokens.next_token(text, config.prompt.real_word),
    )


def _held_out(job: Job, checkpoint: Checkpoint) -> tuple[Samples, list[int]] | None:
    if job.eval_split is None:
        return None
    samples = open_samples(job.config, checkpoint, job.eval_split)
    count = len(samples.dataset.records)
    order = np.random.default_rng(job.config.seed).permutation(count)
    return samples, sorted(order[: job.config.eval_limit or count].tolist())


def _resume(stepper: Stepper, rank: int) -> tuple[int, list[StepMetrics]]:
    """Load the run's last checkpoint, if there is one; the step to go on with, and for the first worker the log."""
    import torch

    mine = {_random_file(rank), *([LOG] if rank == 0 else [])}
    with tempfile.TemporaryDirectory(prefix="fakescan-") as folder:
        if not fetch(Path(folder), lambda name: name in mine or stepper.wanted(name, rank)):
            return 0, []
        state = stepper.load(Path(folder))
        random_file, log = Path(folder) / _random_file(rank), Path(folder) / LOG
        if random_file.exists():  # there was no such worker if the number of workers has grown
            restore_random_states(torch.load(random_file, weights_only=False))
        return int(state["step"]), read_log(log.read_bytes()) if log.exists() else []


def _random_file(rank: int) -> str:
    return f"random_rank_{rank}_.pt"


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_states() -> dict[str, Any]:
    """The states of all random generators, for `restore_random_states`."""
    import torch

    states = {"python": random.getstate(), "torch": torch.get_rng_state()}
    return {**states, "cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def restore_random_states(states: dict[str, Any]) -> None:
    """Go on drawing where another process stopped."""
    import torch

    random.setstate(states["python"])
    torch.set_rng_state(states["torch"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


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
