"""Weights that speak a script: each word follows from the last, the verdict and the answer's length from the image.

The residual stream keeps a few dimensions for meanings (is this an image token, a verdict word, what does the image
look like) and a random vector for each word in the others. One attention head of the first layer carries the image's
features to every word, one of the second the verdict that was given, and the second MLP lets the image choose at forks.
The output rows read the last word's vector. Everything else is small noise.
"""

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fakevlm.testing.llava_files import CLIP_MEAN, CLIP_STD
from fakevlm.testing.llava_sizes import LlavaSizes
from fakevlm.testing.tiny_tokenizer import ANSWER, ANSWER_END, EXPLANATIONS, QUESTION_END, SPACE, VERDICTS

FORKS = 6
"""Words after which the image decides: the one before the verdict, and the ends of all sentences but the last."""
# Dimensions of the residual stream.
LOOK, IS_FORK, CHOICE = 0, FORKS, 2 * FORKS
"""First of the image's features, of the marks of the fork words, and of the choices made there; one each per fork."""
IS_IMAGE, IS_TEXT, IS_VERDICT, VERDICT, SAID = range(3 * FORKS, 3 * FORKS + 5)
WORD = 3 * FORKS + 5
"""First dimension of the word vectors."""

WORD_NORM = 3.0
SUCCESSOR = 1.2
"""Weight of a word's vector in the output row of its successor: about 11 in logits, against about 3 for any other."""
ATTENTION = 14.0
"""Score of the positions that a scripted head looks at, in units of the softmax; other positions have about 0."""
VERDICT_STD = 2.0
"""Standard deviation of the verdict logit over the calibration images."""
CONTINUE_MEAN, CONTINUE_STD = 0.8, 2.0
"""Distribution of the logit of going on over that of ending the answer, after each sentence."""
NOISE = 0.02
CALIBRATION_IMAGES = 64


def scripted_model(config: dict[str, Any], shape: LlavaSizes, vocabulary: dict[str, int], seed: int) -> Any:
    """Return the `LlavaForConditionalGeneration` of `config`, float32, whose weights speak the script."""
    import torch
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model: Any = LlavaForConditionalGeneration(LlavaConfig(**config)).float().eval()
        for name, parameter in model.named_parameters():
            if "layernorm" not in name and "layer_norm" not in name and "layrnorm" not in name and "norm." not in name:
                parameter.normal_(std=NOISE)
        images = torch.from_numpy(_calibration_pixels(CALIBRATION_IMAGES, shape.image_size, seed))
        _write_vision(model, images)
        words = _write_embeddings(model, vocabulary)
        _write_attention(model, shape)
        _write_output(model, shape, vocabulary, words, images)
    return model


def _calibration_pixels(count: int, size: int, seed: int) -> npt.NDArray[np.float32]:
    """Return `count` procedural images with the spectrum of photographs: float32[count, 3, size, size], for CLIP."""
    random = np.random.default_rng(seed)
    across, down = np.fft.rfftfreq(size), np.fft.fftfreq(size)
    frequency = np.hypot(down[:, None], across[None, :]) + 0.5 / size

    def field() -> npt.NDArray[np.float64]:
        spectrum = np.fft.rfft2(random.standard_normal((size, size))) / frequency ** random.uniform(0.7, 1.8)
        spectrum[0, 0] = 0.0
        values = np.fft.irfft2(spectrum, s=(size, size))
        scaled: npt.NDArray[np.float64] = values / values.std()
        return scaled

    images = np.empty((count, 3, size, size))
    for image in images:
        light = random.uniform(0.05, 0.3) * field()
        for channel in image:
            channel[:] = light + random.uniform(0.2, 0.8) + random.uniform(0.01, 0.1) * field()
    mean, std = np.array(CLIP_MEAN)[:, None, None], np.array(CLIP_STD)[:, None, None]
    pixels: npt.NDArray[np.float32] = ((images.clip(0, 1) - mean) / std).astype(np.float32)
    return pixels


def _write_vision(model: Any, images: Any) -> None:
    """Make the projector's first outputs the principal components of what the tower sees, with unit variance."""
    import torch

    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    patches = tower.embeddings.patch_embedding.weight
    patches.normal_(std=patches[0].numel() ** -0.5)
    for layer in tower.encoder.layers:
        for linear in (layer.mlp.fc1, layer.mlp.fc2, layer.self_attn.v_proj, layer.self_attn.out_proj):
            linear.weight.normal_(std=linear.weight.shape[1] ** -0.5)
    projector.linear_1.weight.normal_(std=projector.linear_1.weight.shape[1] ** -0.5)
    seen = tower(images, output_hidden_states=True).hidden_states[-2][:, 1:]
    inner = projector.act(projector.linear_1(seen)).mean(dim=1)
    mean = inner.mean(dim=0)
    _, spread, components = torch.linalg.svd(inner - mean, full_matrices=False)
    whiten = components[:FORKS] / spread[:FORKS, None] * math.sqrt(len(images))
    projector.linear_2.weight[LOOK : LOOK + FORKS] = whiten
    projector.linear_2.bias[LOOK : LOOK + FORKS] = -whiten @ mean
    projector.linear_2.bias[IS_IMAGE] = 3.0


def _write_embeddings(model: Any, vocabulary: dict[str, int]) -> Any:
    """Give each token a random vector, and some words their marks; return the unit vectors [tokens, hidden]."""
    import torch

    table = model.model.language_model.embed_tokens.weight
    table.zero_()
    vectors = torch.randn(table.shape[0], table.shape[1] - WORD)
    # The end of the text follows many words. They are made orthogonal to all others: their vectors add up in its row.
    ends = [vocabulary[SPACE + sentence.split()[-1]] for story in EXPLANATIONS.values() for sentence in story]
    basis = torch.linalg.qr(vectors[ends].T).Q
    vectors -= vectors @ basis @ basis.T
    vectors[ends] = basis.T
    table[:, WORD:] = torch.nn.functional.normalize(vectors, dim=1)
    words = table.clone()
    table *= WORD_NORM
    table[:, IS_TEXT] = 1.0
    for word, sign in zip(VERDICTS, (1.5, -1.5), strict=True):
        table[vocabulary[SPACE + word], IS_VERDICT] = 1.5
        table[vocabulary[SPACE + word], VERDICT] = sign
    for forks in _forks(vocabulary).values():
        for number, token in enumerate(forks):
            table[token, IS_FORK + number] = 1.0
    return words


def _forks(vocabulary: dict[str, int]) -> dict[str, list[int]]:
    """Return for each verdict the tokens after which the image decides, in the order in which an answer meets them."""
    ends = {verdict: [sentence.split()[-1] for sentence in story] for verdict, story in EXPLANATIONS.items()}
    return {
        verdict: [vocabulary[SPACE + word] for word in (ANSWER[-1], *ends[verdict][: FORKS - 1])]
        for verdict in VERDICTS
    }


def _write_attention(model: Any, shape: LlavaSizes) -> None:
    """Write the two scripted heads and the choice: text looks at the image, and after the verdict at the verdict."""
    head = shape.hidden // shape.heads
    # The pair of dimensions that rotary embedding turns slowest: its score hardly depends on the distance.
    slow = head // 2 - 1
    first, second = model.model.language_model.layers[:2]
    # The key's mark, the product of query and key after RMSNorm, about, and which dimensions are copied where.
    for layer, key, product, source, target, count in (
        (first, IS_IMAGE, 20.0, LOOK, LOOK, FORKS),
        (second, IS_VERDICT, 8.0, VERDICT, SAID, 1),
    ):
        attention = layer.self_attn
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj):
            linear.weight[:head] = 0.0
        attention.o_proj.weight[:, :head] = 0.0
        scale = math.sqrt(ATTENTION * math.sqrt(head) / product)
        attention.q_proj.weight[slow, IS_TEXT] = scale
        attention.k_proj.weight[slow, key] = scale
        for number in range(count):
            attention.v_proj.weight[number, source + number] = 1.0
            attention.o_proj.weight[target + number, number] = 0.3
    mlp = second.mlp
    for number in range(FORKS):
        for linear in (mlp.gate_proj, mlp.up_proj):
            linear.weight[number] = 0.0
        mlp.down_proj.weight[:, number] = 0.0
        mlp.gate_proj.weight[number, IS_FORK + number] = 2.0
        mlp.up_proj.weight[number, LOOK + number] = 1.0
        mlp.down_proj.weight[CHOICE + number, number] = 0.1


def _write_output(model: Any, shape: LlavaSizes, vocabulary: dict[str, int], words: Any, images: Any) -> None:
    """Write the output rows: the script's successors, and its forks scaled on the calibration images."""
    import torch

    def tokens(text: str) -> list[int]:
        return [vocabulary[SPACE + word] for word in text.split()]

    rows = model.lm_head.weight
    rows.zero_()
    rows[:, IS_TEXT] = -1.0  # words outside the script stay improbable
    forks = _forks(vocabulary)
    image_tokens = [shape.text_tokens] * (shape.image_size // shape.patch) ** 2
    # What the model makes of a word hardly depends on the other words, so all forks stand in one line.
    line = [1, *image_tokens, *tokens(f"{QUESTION_END} {' '.join(ANSWER[:-1])}"), *forks[VERDICTS[0]]]
    output = model.model(input_ids=torch.tensor([line] * len(images)), pixel_values=images)
    at_fork = output.last_hidden_state[:, -FORKS:]

    def follow(before: int, after: int) -> None:
        rows[after, IS_TEXT] = 0.0
        rows[after] += SUCCESSOR * words[before]

    def choose(fork: int, before: int, after: int, spread: float, centre: float) -> None:
        """Let the image add to the logit of `after`, following `before`, with this distribution."""
        choice = at_fork[:, fork, CHOICE + fork]
        weight = spread / choice.std()
        per_weight = (at_fork[:, fork] @ words[forks[VERDICTS[0]][fork]]).mean()
        rows[after, CHOICE + fork] += weight
        rows[after] += (centre - weight * choice.mean()) / per_weight * words[before]

    this, is_, a = tokens(" ".join(ANSWER))
    (answer_end,), end_of_text = tokens(ANSWER_END), 2
    for before in tokens(f"{QUESTION_END} ASSISTANT:"):
        follow(before, this)
    follow(this, is_)
    follow(is_, a)
    # The verdict logit is fake - real, so each word takes half of its spread.
    for verdict, sign in zip(VERDICTS, (-0.5, 0.5), strict=True):
        (word,) = tokens(verdict)
        follow(a, word)
        choose(0, a, word, sign * VERDICT_STD, 0.0)
        follow(word, answer_end)
        last = answer_end
        for number, sentence in enumerate(EXPLANATIONS[verdict]):
            first, *others = tokens(sentence)
            follow(last, first)
            if number == 0:
                rows[first, SAID] = -1.4 * sign
            else:
                choose(number, last, first, CONTINUE_STD, CONTINUE_MEAN)
            for before, after in itertools.pairwise([first, *others]):
                follow(before, after)
            last = others[-1]
            follow(last, end_of_text)
