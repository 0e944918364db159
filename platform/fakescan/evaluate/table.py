"""An evaluation in the terminal, in tables like the paper's, with the published rows beside ours."""

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console

from fakescan.evaluate.results import GeneratorScores, Results, Scores, Texts
from fakescan.terminal.tables import Column, number_table, print_fitting, wide_console
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
    overall, texts, rows = results.overall, results.texts, paper_rows(results)
    values = (overall.recall_fake, overall.precision_fake, overall.accuracy, overall.uncertain, overall.f1_real)
    said = (texts.rouge_l if texts else None, texts.css if texts else None)
    ours = [percent(value) for value in (*values, *said)]
    papers = [(None, None, row.accuracy, None, row.f1, row.rouge_l, row.css) for row in rows]
    theirs = [["–" if cell is None else f"{cell:.1f}" for cell in cells] for cells in papers]
    names = Column(
        "model",
        [results.model, *(f"{row.model} ({SOURCE})" for row in rows)],
        [results.model, *(f"{row.model} (paper)" for row in rows)] if rows else None,
        f"paper: {SOURCE}",
    )
    columns = ("recall", "precision", "Acc", "uncertain", "F1 real", "ROUGE_L", "CSS")
    numbers = [Column(name, cells) for name, cells in zip(columns, zip(ours, *theirs, strict=True), strict=True)]
    print_fitting(console, title, names, numbers, ("CSS", "ROUGE_L", "F1 real"), ends=(0,))


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
    counts = f"{scores.images:,} images, {scores.fakes:,} fake"
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
    each = list(groups.values())
    numbers = [
        Column("n", [f"{scores.images:,}" for scores in each]),
        Column("fakes", [f"{scores.fakes:,}" for scores in each]),
        *_headline(each),
        Column("F1 real", [percent(scores.f1_real) for scores in each]),
        _ranked(each),
        Column("ECE-15", [percent(scores.ece_15) for scores in each]),
    ]
    numbers.insert(5, Column("95 % interval", [span(scores.accuracy_low, scores.accuracy_high) for scores in each]))
    spare = ("ECE-15", "AUROC", "95 % interval", "fakes", "AUROC", "F1 real", "n")
    print_fitting(console, "by category, %", Column("category", list(groups)), numbers, spare)


def _headline(each: Sequence[Scores]) -> list[Column]:
    """The numbers that come first."""
    return [
        Column("recall", [percent(scores.recall_fake) for scores in each]),
        Column("precision", [percent(scores.precision_fake) for scores in each]),
        Column("Acc", [percent(scores.accuracy) for scores in each]),
        Column("uncertain", [percent(scores.uncertain) for scores in each]),
    ]


def _ranked(each: Sequence[Scores]) -> Column:
    """AUROC, in a narrow window without its intervals."""
    short = [percent(scores.auroc) for scores in each]
    return Column("AUROC", [ranked(scores) for scores in each], short, "the intervals of AUROC")


def _print_generators(console: Console, groups: dict[str, GeneratorScores]) -> None:
    if not groups:
        return
    each = list(groups.values())
    against = "AUROC against all real"
    numbers = [
        Column("fakes", [f"{one.fakes:,}" for one in each]),
        Column("found", [percent(one.found) for one in each]),
        Column("95 % interval", [span(one.found_low, one.found_high) for one in each]),
        Column(against, [ranked(one) for one in each]),
    ]
    print_fitting(console, "by generator, %", Column("generator", list(groups)), numbers, (against, "95 % interval"))


def _print_conditions(console: Console, results: Results) -> None:
    if not results.conditions:
        return
    known = paper_conditions(results)
    title = f"robustness at the threshold {results.threshold:g}, %{'   (paper: FakeVLM on FakeClue)' if known else ''}"
    each = list(results.conditions.values())
    numbers = [
        Column("n", [f"{scores.images:,}" for scores in each]),
        *_headline(each),
        Column("F1 real", [percent(scores.f1_real) for scores in each]),
        _ranked(each),
        Column("ECE-15", [percent(scores.ece_15) for scores in each]),
    ]
    if known:
        rows = [known.get(name) for name in results.conditions]
        numbers.append(Column("paper Acc", [f"{row.accuracy:.1f}" if row else "–" for row in rows]))
        numbers.append(Column("paper F1", [f"{row.f1:.1f}" if row else "–" for row in rows]))
    names = list(results.conditions)
    spare = ("ECE-15", "AUROC", "n", *(("paper F1",) if known else ()), "F1 real", "AUROC")
    ends = (names.index(NONE),) if NONE in names else ()
    print_fitting(console, title, Column("condition", names), numbers, spare, ends)


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
