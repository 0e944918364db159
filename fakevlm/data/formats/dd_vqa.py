"""DD-VQA (github.com/Reality-Defender/Research-DD-VQA, folder DQ_FF++) as FakeClue's records.

`{"0_114_102": {"0": {"question": "Does the image looks real/fake?", "answer": ["The image looks fake. …", …]}, …}}`:
method and video, then questions with what several people answered. The frames are those of FaceForensics++ and not
named; FakeVLM's authors take one for each question, in order from the first (github.com/opendatalab/FakeVLM/issues/3).
"""

from collections.abc import Iterator
from typing import Any

from fakevlm.data.formats.fields import IMAGE_KEYS, TEXT_KEYS, fakeclue_fields, first_text, with_image
from fakevlm.data.formats.frames import METHODS, Frames
from fakevlm.data.formats.record_format import Converted, Place
from fakevlm.data.labels import LABEL_NAMES, folder_label
from fakevlm.data.readers import Fault, Items
from fakevlm.data.record import FAKE, REAL
from fakevlm.errors import one_line
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Verdict, parse_answer

_ORIGINAL = "5"
_MAKERS = {"0": "Deepfakes", "1": "Face2Face", "2": "FaceShifter", "3": "FaceSwap", "6": "NeuralTextures"}
"""What made the frames, by the number of the method (DD-VQA's README)."""
_LABELS = {"real": REAL, "fake": FAKE, "1": REAL, "0": FAKE}
_FOLDERS = {
    **LABEL_NAMES,
    **dict.fromkeys(("original", "original_sequences"), REAL),
    **dict.fromkeys(("manipulated_sequences", "deepfakes", "face2face", "faceswap", "neuraltextures"), FAKE),
}
"""Label by the name of a folder: those of FakeClue and those of FaceForensics++."""


def dd_vqa_records(items: Items, place: Place) -> Converted:
    """A record for each question, in the order of the file, from the published object or from a list of records."""
    frames: Frames | None = None
    count = 0
    for number, item in items:
        if isinstance(item, tuple) and not isinstance(item, Fault):
            video, questions = item
            frames = frames or Frames(place.fs, place.root)
            for made in _video(video, questions, frames):
                count += 1
                yield count, made
        elif isinstance(item, dict):
            try:
                yield number, dd_vqa_record(item)
            except ValueError as error:
                image = item.get("image")
                yield number, Fault(one_line(error), image if isinstance(image, str) else None)
        else:
            yield number, item


def dd_vqa_record(item: dict[str, Any]) -> dict[str, Any]:
    """An item that names its frame, one question about it, in FakeClue's fields. Raises ValueError."""
    image = first_text(item, IMAGE_KEYS, "image path")
    answers = item.get("answer")
    several = answers if isinstance(answers, list) and all(isinstance(one, str) for one in answers) else []
    text = "" if "conversations" in item else several[0] if several else first_text(item, TEXT_KEYS, "answer")
    label = _label(item, image)
    if label is None:
        said = parse_answer(text)
        if said is Verdict.UNCERTAIN:
            raise ValueError("has no label: no field label, no folder in the image's path and no answer that tells it")
        label = REAL if said is Verdict.REAL else FAKE
    question = with_image(str(item.get("question") or PromptSpec().question))
    return fakeclue_fields(item, image, label, "deepfake", several or ([text] if text else []), question)


def _label(item: dict[str, Any], image: str) -> object:
    """The label that the item states or its path tells; None if neither. Anything odd is left for the checks."""
    stated = item.get("label")
    if stated is not None:
        return _LABELS.get(str(stated).strip().lower(), stated)
    return folder_label(image, _FOLDERS)


def _video(video: str, questions: Any, frames: Frames) -> Iterator[dict[str, Any] | Fault]:
    """The questions about a video, as pairs of an id and the pairs of its fields."""
    if not isinstance(questions, list) or not all(isinstance(pair, tuple) for pair in questions):
        yield Fault(f"{video}: holds no questions by their ids")
        return
    try:
        found = frames.of(video)
    except ValueError as error:
        yield Fault(f"{video} {one_line(error)}")
        return
    ids = [name for name, _ in questions]
    for at, (name, pairs) in enumerate(questions):
        where = f"{video}, question {name}"
        try:
            if ids.count(name) > 1:
                raise ValueError("occurs twice")
            if frames.is_alone(video):
                frame = found[0]
            elif at < len(found):
                frame = found[at]
            else:
                raise ValueError(f"has no frame: {found[0].rpartition('/')[0]} holds {len(found)}")
            yield _question(video, name, pairs, frame)
        except ValueError as error:
            yield Fault(f"{where}: {one_line(error)}")


def _question(video: str, name: str, pairs: Any, frame: str) -> dict[str, Any]:
    fields = dict(pairs) if isinstance(pairs, list) and all(isinstance(pair, tuple) for pair in pairs) else {}
    answers = fields.get("answer")
    answers = [answers] if isinstance(answers, str) else answers
    if not isinstance(answers, list) or not answers or not all(isinstance(one, str) and one.strip() for one in answers):
        raise ValueError("has no answers: no list of texts under answer")
    question = fields.get("question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError("has no text under question")
    method = video.partition("_")[0]
    label: int | None = None
    if method in METHODS:
        label = REAL if method == _ORIGINAL else FAKE
    else:
        said = parse_answer(answers[0])
        if said is Verdict.UNCERTAIN:
            raise ValueError(f"method {method} is unknown, and the answer does not tell whether it is real")
        label = REAL if said is Verdict.REAL else FAKE
    item = {"video": video, "question_id": name}
    if label == FAKE and method in _MAKERS:
        item["generator"] = _MAKERS[method]
    return fakeclue_fields(item, frame, label, "deepfake", answers, with_image(question))
