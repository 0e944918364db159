"""The tokenizer of the small checkpoint: byte-pair merges learnt from the answers that it is trained on."""

import json
from collections.abc import Iterable

from fakevlm.testing.tiny_tokenizer import SPACE, base_tokens


def learn(answers: Iterable[str], *, size: int) -> tuple[dict[str, int], list[str]]:
    """A Llama-style vocabulary of exactly `size` tokens and its merges; the same answers give the same ones.

    Merges never cross a space, so that a common word is one token with the space before it. Where the answers hold too
    little text for so many tokens, fillers that stand for nothing make up the number.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    base = base_tokens()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    letters = [token for token in base if len(token) == 1]
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(base) + len(letters), initial_alphabet=letters, limit_alphabet=len(letters),
        special_tokens=[], show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(sorted(answers), trainer)
    learnt = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    more = [token for token, _ in learnt if token not in set(base)]
    more += [f"<filler_{number}>" for number in range(size - len(base) - len(more))]
    vocabulary = {token: number for number, token in enumerate([*base, *more][:size])}
    pairs = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in pairs]
    return vocabulary, [pair for pair in merges if pair.replace(" ", "") in vocabulary]
