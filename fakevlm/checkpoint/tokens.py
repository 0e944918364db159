"""The tokenizer of a checkpoint, as far as the prompt needs it: read without transformers."""

from pathlib import Path

from fakevlm.errors import UserError, one_line


class PromptTokens:
    """The tokens of prompts, the same as vLLM and transformers make them."""

    def __init__(self, folder: Path) -> None:
        """Loads `tokenizer.json` from `folder`. Raises UserError when it is missing or damaged."""
        from tokenizers import Tokenizer

        file = folder / "tokenizer.json"
        if not file.exists():
            hint = ", only tokenizer.model: save it once with transformers' LlamaTokenizerFast"
            raise UserError(
                f"model {folder} lacks tokenizer.json{hint if (folder / 'tokenizer.model').exists() else ''}"
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # noqa: BLE001 - the tokenizers package raises no narrower one
            raise UserError(f"{file} is not a tokenizer: {one_line(error)}") from None
        self._file = file

    @property
    def size(self) -> int:
        """One more than the highest token id."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    def id_of(self, token: str) -> int | None:
        """The id of a token by its exact content."""
        number: int | None = self._tokenizer.token_to_id(token)
        return number

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`, with the beginning-of-sequence token if the tokenizer adds one."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

    def next_token(self, prompt: str, word: str) -> int:
        """The one token by which `word` continues `prompt`. Raises UserError when it is not exactly one."""
        before, after = self.encode(prompt), self.encode(f"{prompt} {word}")
        if after[: len(before)] != before or len(after) != len(before) + 1:
            raise UserError(
                f"{self._file}: the verdict word {word!r} is {len(after) - len(before)} tokens after the answer "
                "prefix, but its score needs exactly one"
            )
        return after[-1]
