"""An evaluation in the terminal, in tables like the paper's, with the published rows beside ours."""

from collections.abc import Iterable, Mapping

from rich.console import Console

from fakescan.evaluate.results import GeneratorScores, Results, Scores, Texts
from fakescan.terminal.tables import number_table, wide_console
from fakevlm.metrics.calibration import worth
from fakevlm.metrics.distortion import NONE, PAPER_ROWS, PaperRow
from fakevlm.metrics.published import SOURCE, TEST_SETS, PublishedRow, published, rows_beside

RARE = 0.01
"""Share of fakes among images of the wild, for what precision would be there."""

NAMES = {"fakeclue": "FakeClue", "loki": "LOKI", "dd-vqa": "DD-VQA", "folder": "folder"}


def print_results(results: Results) -> None:
    """Print the tables, what they leave out, and the warnings to read before they are believed."""
    console = wide_console()
    _print_paper(console, results)
    print_scores(console, "all numbers, %", results.overall)
    _print_categories(console, results.categories)
    _print_generators(console, results.generators)
    _print_conditions(console, results)
    for line in remarks(results):
        console.print(line, soft_wrap=True)


def _print_paper(console: Console, results: Results) -> None:
    title = f"{NAMES[results.benchmark]} at the threshold {results.threshold:g}, %   (recall and precision of fake)"
    columns = ("recall", "precision", "Acc", "uncertain", "F1 real", "ROUGE_L", "CSS")
    table = number_table(console, title, "model", *columns)
    overall, texts = results.overall, results.texts
    values = (overall.recall_fake, overall.precision_fake, overall.accuracy, overall.uncertain, overall.f1_real)
    said = (texts.rouge_l if texts else None, texts.css if texts else None)
    table.add_row(results.model, *(percent(value) for value in (*values, *said)))
    rows = paper_rows(results)
    if rows:
        table.add_section()
    for row in rows:
        cells = (None, None, row.accuracy, None, row.f1, row.rouge_l, row.css)
        table.add_row(f"{row.model} ({SOURCE})", *("–" if cell is None else f"{cell:.1f}" for cell in cells))
    console.print(table)


def paper_rows(results: Results) -> tuple[PublishedRow, ...]:
    """The paper's rows, where it measured the same images."""
    return rows_beside(NAMES[results.benchmark], results.overall.images, results.overall.fakes)


def print_scores(console: Console, title: str, scores: Scores) -> None:
    """Print a table of every number of some images."""
    table = number_table(console, title, "metric", "value")
    for row in score_rows(scores):
        table.add_row(*row)
    console.print(table)


def score_rows(scores: Scores) -> Iterable[tuple[str, str]]:
    """Name and value of every number of some images, as people read them."""
    counts = f"{scores.images:,} images, {scores.fakes:,} of them fake"
    yield "recall of fake: fakes called fake", percent(scores.recall_fake)
    yield "  95 % Wilson interval", span(scores.recall_fake_low, scores.recall_fake_high)
    yield "precision of fake: fakes among those called fake", percent(scores.precision_fake)
    yield "  95 % Wilson interval", span(scores.precision_fake_low, scores.precision_fake_high)
    yield "accuracy", percent(scores.accuracy)
    yield "  95 % Wilson interval", span(scores.accuracy_low, scores.accuracy_high)
    yield "  uncertain, of all images", percent(scores.uncertain)
    yield "false alarms, of real images", percent(scores.false_alarms)
    yield "  95 % Wilson interval", span(scores.false_alarms_low, scores.false_alarms_high)
    yield "balanced accuracy", percent(scores.balanced_accuracy)
    yield "F1 of class fake", percent(scores.f1_fake)
    yield "F1 of class real (the paper's)", percent(scores.f1_real)
    yield "F1, mean of both", percent(scores.f1_macro)
    yield "AUROC", percent(scores.auroc)
    yield "  95 % interval", span(scores.auroc_low, scores.auroc_high)
    yield "average precision", percent(scores.average_precision)
    yield "fakes found at 1 % false alarms", percent(scores.tpr_at_fpr_1)
    yield "fakes found at 5 % false alarms", percent(scores.tpr_at_fpr_5)
    yield "ECE-15 of the verdicts at this threshold", percent(scores.ece_15)
    yield "ECE-15 of P(fake)", percent(scores.ece_15_fake)
    yield "Brier score", percent(scores.brier)
    yield "of", counts


def _print_categories(console: Console, groups: dict[str, Scores]) -> None:
    if not groups:
        return
    columns = ("n", "fakes", "recall", "precision", "Acc", "95 % interval", "uncertain", "F1 real", "AUROC", "ECE-15")
    table = number_table(console, "by category, %", "category", *columns)
    for name, scores in groups.items():
        first = (scores.recall_fake, scores.precision_fake, scores.accuracy)
        interval = span(scores.accuracy_low, scores.accuracy_high)
        last = (percent(scores.uncertain), percent(scores.f1_real), ranked(scores), percent(scores.ece_15))
        cells = (*(percent(value) for value in first), interval, *last)
        table.add_row(name, f"{scores.images:,}", f"{scores.fakes:,}", *cells)
    console.print(table)


def _print_generators(console: Console, groups: dict[str, GeneratorScores]) -> None:
    if not groups:
        return
    columns = ("fakes", "found", "95 % interval", "AUROC against all real")
    table = number_table(console, "by generator, %", "generator", *columns)
    for name, one in groups.items():
        interval = span(one.found_low, one.found_high)
        table.add_row(name, f"{one.fakes:,}", percent(one.found), interval, ranked(one))
    console.print(table)


def _print_conditions(console: Console, results: Results) -> None:
    if not results.conditions:
        return
    known = paper_conditions(results)
    title = f"robustness at the threshold {results.threshold:g}, %{'   (paper: FakeVLM on FakeClue)' if known else ''}"
    columns = ("n", "recall", "precision", "Acc", "uncertain", "F1 real", "AUROC", "ECE-15")
    table = number_table(console, title, "condition", *columns, *(("paper Acc", "paper F1") if known else ()))
    for name, scores in results.conditions.items():
        values = (scores.recall_fake, scores.precision_fake, scores.accuracy, scores.uncertain, scores.f1_real)
        paper = known.get(name)
        said = (f"{paper.accuracy:.1f}", f"{paper.f1:.1f}") if paper else ("–", "–") if known else ()
        cells = (*(percent(value) for value in values), ranked(scores), percent(scores.ece_15))
        table.add_row(name, f"{scores.images:,}", *cells, *said)
        if name == NONE:
            table.add_section()
    console.print(table)


def paper_conditions(results: Results) -> Mapping[str, PaperRow]:
    """The paper's robustness table, where the images are its own: FakeClue's test split."""
    return PAPER_ROWS if results.benchmark == "fakeclue" and paper_rows(results) else {}


def percent(value: float | None) -> str:
    """A share from 0 to 1 in percent; a dash for what is not defined."""
    return "–" if value is None else f"{100 * value:.1f}"


def ranked(scores: Scores | GeneratorScores) -> str:
    """AUROC in percent with its interval."""
    if scores.auroc is None or scores.auroc_low is None:
        return percent(scores.auroc)
    return f"{percent(scores.auroc)} ({span(scores.auroc_low, scores.auroc_high)})"


def span(low: float | None, high: float | None) -> str:
    """An interval of shares in percent."""
    return f"{percent(low)} to {percent(high)}"


def remarks(results: Results) -> list[str]:
    """One line for each thing that the numbers alone do not say."""
    controls, texts, lines = results.controls, results.texts, []
    name = NAMES[results.benchmark]
    images, fakes = TEST_SETS.get(name, (0, 0))
    if images and not paper_rows(results):
        lines.append(
            f"the paper's rows are left out, these are other images: {name} as published has {images:,}, {fakes:,} of "
            "them fake"
        )
    elif published(name) and not images:
        lines.append(f"the paper's rows are left out: it does not say which images of {name} it has")
    if (rare := _where_rare(results.overall)) is not None:
        lines.append(rare)
    if results.warning:
        lines.append(f"warning: {results.warning}")
    if results.errors:
        lines.append(errors_remark(results.errors, "verdict"))
    if any(scores.undefined for scores in results.categories.values()):
        lines.append("a dash in a category's row: it has images of one class only, or too few for that number")
    for why in sorted(set(results.overall.undefined.values())):
        names = ", ".join(name for name, reason in results.overall.undefined.items() if reason == why)
        lines.append(f"not defined, because {why}: {names}")
    if results.left_out:
        named = ", ".join(results.left_out_names[:3])
        lines.append(
            f"warning: {results.left_out:,} images are in no folder with a label and are left out, such as {named}"
        )
    if results.repeated:
        lines.append(f"{results.repeated:,} records name an image that had come before; each image is counted once")
    if controls.headers_auroc is None:
        lines.append("headers only: too few images of a class, or of sources, for this control")
    else:
        lines.append(
            f"headers only: format, size and aspect alone reach an AUROC of {percent(controls.headers_auroc)} %"
        )
    if controls.separable:
        lines.append(
            "warning: real and fake images can be told apart by their headers, without a look at them: "
            "this set says little about the model"
        )
    if controls.duplicates is None:
        lines.append("near-duplicates: not searched; name the training set with --training")
    else:
        fate = "left out of all numbers" if controls.duplicates_excluded else "counted in all numbers"
        lines.append(f"near-duplicates: {controls.duplicates:,} images are nearly in the training set, {fate}")
        if controls.unhashed:
            lines.append(
                f"warning: {controls.unhashed:,} images of both could not be read, or have hardly anything on them"
            )
    return [*lines, *text_remarks(texts)]


def _where_rare(scores: Scores) -> str | None:
    """What a verdict fake is worth where fakes are rare; None where that cannot be told."""
    rates = (scores.recall_fake, scores.false_alarms_low, scores.false_alarms_high)
    if scores.precision_fake is None or any(rate is None for rate in rates):
        return None
    recall, least, most = (float(rate or 0) for rate in rates)
    low, high = (worth(recall, rate, RARE) for rate in (most, least))
    return (
        f"precision is that of this set, {100 * scores.fakes / scores.images:.0f} % of which are fake: where "
        f"{100 * RARE:g} % are, {100 * low:.0f} to {100 * high:.0f} % of what is called fake would be"
    )


def errors_remark(errors: dict[str, int], missing: str) -> str:
    """The line about images that ended in an error and have no score or verdict."""
    codes = ", ".join(f"{code} {count:,}" for code, count in sorted(errors.items()))
    return f"warning: {sum(errors.values()):,} images have no {missing} and are left out: {codes}"


def text_remarks(texts: Texts | None) -> list[str]:
    """How near the explanations are to the reference answers, by which encoder, and how much they repeat."""
    if texts is None:
        return []
    lines = ["ROUGE_L and CSS: the set has no reference answers"]
    if texts.encoder:
        near = f"ROUGE_L {percent(texts.rouge_l)} %, CSS {percent(texts.css)} % over {texts.compared:,} answers"
        lines = [f"{near}; CSS by {texts.encoder}, it can only be compared with CSS by the same encoder"]
    if texts.other_word:
        lines.append(
            f"explanations are the model's own words: {texts.other_word:,} of {texts.explained:,} argue for the other "
            "verdict than calibration and threshold give"
        )
    if texts.most_common_share is not None:
        lines.append(
            f"boilerplate: one sentence is in {percent(texts.most_common_share)} % of {texts.explained:,} "
            f"explanations: {texts.most_common!r}; distinct-1 {percent(texts.distinct_1)} %, "
            f"distinct-2 {percent(texts.distinct_2)} %"
        )
    return lines
