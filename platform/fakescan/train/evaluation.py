"""How good the model is during its training, by the verdict logits of held-out samples."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fakescan.train.feed import Samples
from fakescan.train.stepper import Stepper
from fakevlm.data.collate import IGNORED, TokenizedSample
from fakevlm.metrics.classification import accuracy, auroc, f1


def evaluate(
    stepper: Stepper, samples: Samples, indices: list[int], *, rank: int, workers: int, rows: int, threads: int
) -> dict[str, float]:
    """Accuracy, F1 of both classes, AUROC and log loss of the verdict in nats; all workers get the same.

    As in a scan the prompt ends with the answer's first words, and the next token, fake over real, is the verdict.
    """
    import torch

    prompt = samples.checkpoint.prompt
    ids = samples.text.prompt_ids(prompt.text())
    question = TokenizedSample(ids, len(ids))
    fake, real = samples.checkpoint.fake_token_id, samples.checkpoint.real_token_id
    rounds = -(-len(indices) // (workers * rows))
    own = [indices[start : start + rows] for start in range(rank * rows, len(indices), workers * rows)]
    gaps: list[tuple[int, float]] = []
    stepper.base.eval()
    try:
        with torch.no_grad(), ThreadPoolExecutor(threads) as pool:
            for number in range(rounds):
                # Every worker computes as often: with ZeRO-3 each pass gathers weights from all of them.
                chosen = own[number] if number < len(own) else []
                records = [samples.dataset.records[index] for index in chosen]
                kept = [
                    (index, image)
                    for index, image in zip(chosen, pool.map(samples.pixels, records), strict=True)
                    if image is not None
                ]
                chosen, pixels = [index for index, _ in kept], [image for _, image in kept]
                batch = samples.text.batch([question] * len(pixels), pixels, samples.checkpoint.image, rows=rows)
                assert (batch.labels == IGNORED).all()
                output = stepper.forward(
                    input_ids=torch.from_numpy(batch.input_ids[:, : len(ids)]).to(stepper.device),
                    pixel_values=torch.from_numpy(batch.pixel_values).to(stepper.device, stepper.base.dtype),
                    logits_to_keep=1,
                )
                gap = (output.logits[:, -1, fake] - output.logits[:, -1, real]).float().cpu().numpy()
                gaps += zip(chosen, gap.tolist(), strict=False)
    finally:
        stepper.base.train()
    by_worker: list[Any] = [gaps] * workers
    if workers > 1:
        torch.distributed.all_gather_object(by_worker, gaps)
    pairs = [pair for part in by_worker for pair in part]
    truth = np.array([samples.dataset.records[index].is_fake for index, _ in pairs], dtype=np.bool_)
    logit = np.array([value for _, value in pairs])
    said = logit > 0
    metrics = {
        "eval_samples": float(len(pairs)),
        "eval_accuracy": accuracy(truth, said),
        "eval_f1_fake": f1(truth, said),
        "eval_f1_real": f1(~truth, ~said),
        "eval_auroc": auroc(truth, logit),
        "eval_log_loss": float(np.logaddexp(0.0, np.where(truth, -logit, logit)).mean()),
    }
    # A split with one class has no AUROC, and one of its F1 is not defined.
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
