"""Whether reviewers agree by more than chance."""

from collections import Counter
from collections.abc import Iterable, Sequence


def cohen_kappa(pairs: Iterable[tuple[str, str]]) -> float:
    """Agreement of two reviewers beyond chance (Cohen 1960): 1 for all, 0 for as much as chance makes.

    `pairs`: both labels of each image that both have labelled. NaN for none, and where both give all one label.
    """
    found = Counter(pairs)
    images = sum(found.values())
    if not images:
        return float("nan")
    first, second = Counter[str](), Counter[str]()
    for (one, other), count in found.items():
        first[one] += count
        second[other] += count
    agreed = sum(count for (one, other), count in found.items() if one == other) / images
    chance = sum(first[label] * second[label] for label in first) / images**2
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")


def krippendorff_alpha(images: Iterable[Sequence[str]]) -> float:
    """Agreement of any number of reviewers beyond chance (Krippendorff 2011, nominal), of whom some may be absent.

    `images`: the labels of each image, one for each reviewer who gave one; images with fewer than two are ignored. NaN
    without such images, and where all labels are the same.
    """
    observed, totals, labels = 0.0, Counter[str](), 0
    for given in images:
        if len(given) < 2:
            continue
        counts = Counter(given)
        totals.update(counts)
        labels += len(given)
        observed += (len(given) ** 2 - sum(count**2 for count in counts.values())) / (len(given) - 1)
    expected = (labels**2 - sum(count**2 for count in totals.values())) / (labels - 1) if labels > 1 else 0.0
    return 1 - observed / expected if expected else float("nan")
