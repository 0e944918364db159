"""The headers-only control: how well a data set's real and fake images are told apart without looking at a pixel.

FakeClue's test split gives 0.967. On such a set a model may judge by what goes with the format and the size, and its
accuracy says less about artifacts.
"""

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from fakevlm.errors import UserError
from fakevlm.metrics.classification import auroc

SEPARABLE = 0.75
"""AUROC above which a warning is due.

Between two equal bell curves 0.75 means that headers alone get 68 % of a balanced set right. Chance seldom reaches it:
with thirty images of each class it is 3.3 standard errors of 0.075 away (Mann and Whitney 1947), with ten 1.9.
"""

FOLDS = 5
MIN_PER_CLASS = 2 * FOLDS
"""Images of either class under which nothing is said."""


class Features(NamedTuple):
    """Facts about an image that can be read without looking at a pixel."""

    format: str
    """JPEG, PNG and so on."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    aspect: float
    """Width by height."""
    megapixels: float
    squareness: float
    """The shorter side by the longer, 1 for a square."""


def features(format: str, width: int, height: int) -> Features:
    """The features of an image. The number of bytes is not among them: it depends on the pixels."""
    short, long = sorted((width, height))
    return Features(format, width, height, width / height, width * height / 1e6, short / long)


def headers_auroc(
    is_fake: ArrayLike,
    formats: Sequence[str],
    widths: Sequence[int],
    heights: Sequence[int],
    groups: Sequence[Hashable] | None = None,
    seed: int = 0,
) -> float:
    """The AUROC of gradient boosting on the features, each image scored by a model that has not seen it.

    bool[n] and n of each other. Images of one group, such as a source, are never both learned from and scored; None
    is a group of its own. Images are compared with those of their own fold: scores of two models are on two scales. NaN
    when a class has fewer than `MIN_PER_CLASS` images or is in a single group. Raises UserError without scikit-learn.
    """
    truth = np.asarray(is_fake)
    units = _units(groups, len(truth))
    if min(int(truth.sum()), int((~truth).sum())) < MIN_PER_CLASS:
        return float("nan")
    folds = min(FOLDS, len(np.unique(units[truth])), len(np.unique(units[~truth])))
    if folds < 2:
        return float("nan")
    inputs = _matrix([features(*header) for header in zip(formats, widths, heights, strict=True)])
    won = pairs = 0.0
    for learned, scored in _splits(truth, units, folds, seed):
        count = int(truth[scored].sum()) * int((~truth[scored]).sum())
        if count and len(np.unique(truth[learned])) == 2:
            score = _scores(inputs[learned], truth[learned], inputs[scored], seed)
            won += count * auroc(truth[scored], score)
            pairs += count
    return won / pairs if pairs else float("nan")


def _units(groups: Sequence[Hashable] | None, count: int) -> npt.NDArray[np.int64]:
    """The number of each image's group, int64[count]."""
    if groups is None:
        return np.arange(count)
    numbers: dict[Hashable, int] = {}
    keys = ((number,) if group is None else group for number, group in enumerate(groups))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _matrix(rows: Sequence[Features]) -> npt.NDArray[np.float64]:
    """float64[n, formats + 5]: a column for each format that occurs, then the numbers."""
    kinds = np.array([row.format for row in rows])
    return np.hstack([kinds[:, None] == np.unique(kinds), np.array([row[1:] for row in rows], np.float64)])


def _splits(
    truth: npt.NDArray[np.bool_], units: npt.NDArray[np.int64], folds: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Indices of the images to learn from and of those to score, for each fold; classes even where groups let them."""
    try:
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
    except ModuleNotFoundError:
        raise UserError("the headers-only control needs pip install fakescan[evaluate]") from None
    if len(np.unique(units)) == len(units):  # the grouped split takes its time over each group
        return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(units, truth))
    return list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(units, truth, units))


def _scores(
    inputs: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], others: npt.NDArray[np.float64], seed: int
) -> npt.NDArray[np.float64]:
    """Scores of `others` by a model of `inputs` and `truth`."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    rare = min(int(truth.sum()), int((~truth).sum()))
    # scikit-learn's 20 to a leaf would leave a small set without a single split.
    leaf = max(1, min(20, rare // 5))
    # Early stopping would set images aside without regard to their groups.
    model = HistGradientBoostingClassifier(min_samples_leaf=leaf, early_stopping=False, random_state=seed)
    # On busy cores threads that wait for each other make these small fits a hundred times as slow.
    with threadpool_limits(1, user_api="openmp"):
        scores: npt.NDArray[np.float64] = model.fit(inputs, truth).decision_function(others)
    return scores
