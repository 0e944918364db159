"""What a reader must know before believing a verdict: what the model cannot do, and what its verdicts are worth."""

from collections.abc import Iterator

from fakescan.run.run_file import RunFile
from fakevlm.reading import MEANS_NOTHING, NO_FORGERY_FOUND, Meaning


def cautions(run: RunFile) -> list[str]:
    """Sentences that belong beside every verdict; none where the verdicts mean what they say."""
    meaning = run.known_meaning
    found = []
    if meaning is Meaning.NONE:
        found.append(MEANS_NOTHING)
    elif meaning is Meaning.FORGERIES:
        found.append(NO_FORGERY_FOUND)
    if run.warning and run.warning not in found:
        found.append(run.warning)
    return found


def limits(run: RunFile) -> Iterator[str]:
    """What the model cannot do, a sentence or two each."""
    meaning, image, ask = run.known_meaning, run.identity.image, run.identity.ask
    if meaning is Meaning.NONE:
        yield MEANS_NOTHING
    elif meaning is Meaning.FORGERIES:
        yield (
            "The model has learnt to find what is done to photographs. It knows no generator: a generated image gets a "
            "low score like any other, so that a low score says nothing of where an image comes from."
        )
    else:
        yield (
            "Published figures of detectors are from their own benchmarks. On images of another origin they are lower, "
            "often by 10 to 25 points: only labels of these images say how good the verdicts here are."
        )
    yield (
        "Where few images are fake, most images called fake may be real: at 1 fake in 100, a detector that is wrong on "
        "3 % of real images raises three false alarms for each fake."
    )
    if not ask.calibration.is_fitted:
        yield "Scores have no calibration: they put images in an order, and are no probabilities."
    else:
        yield "A score is a probability only for images like those that the calibration was fitted to."
    yield (
        f"The model sees {image.width} x {image.height} pixels from the middle of each image, made smaller: the edges "
        "of wide and tall pictures are never looked at, and small traces may be lost."
    )
    if run.identity.decode == "fast":
        yield (
            "Large JPEG files were decoded at a reduced size (decode fast): their scores differ a little from those of "
            "an exact scan, and verdicts near the threshold may be others."
        )
    if ask.explain != "none":
        yield (
            "An explanation is what the model says it saw. It is often boilerplate, may describe what is not there, "
            "and proves nothing by itself."
        )
    yield "Images that could not be read or judged are counted as errors, apart, and are in no share."
