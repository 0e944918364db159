// Review: one image at a time, the verdict hidden first, since whoever has seen it is led by it.

import { go, state } from "../address.js";
import { announce, button, byId, counted, element, number, plain, setText, showProblem } from "../dom.js";
import { canLabel, giveLabel, labelOf, loadLabels, loadSample, secondLookOf, takeBack } from "../model/labels.js";
import { report } from "../model/report.js";
import { wholeRow } from "../model/rows.js";
import { shellWord } from "../model/shell.js";
import { keep, kept } from "../settings.js";
import { agreementOfAll, agreementWords } from "./agreement.js";
import { badge, meter, scoreWords } from "./answer.js";
import { fullImage } from "./image.js";
import { showThumb } from "./picture.js";

const WORDS = [
  ["fake", "Fake", "F"],
  ["real", "Real", "R"],
  ["unsure", "Unsure", "U"],
];
const DESIGNS = {
  estimate: "how many are fake, with an interval",
  threshold: "where the threshold should be",
  disagree: "what two scans do not agree on",
  discover: "kinds of fakes, as different as can be",
  qa: "whether reviewers agree, with each other and with themselves: a second look at images that have a label",
};

let sample = null; // { design, items }
let reviewer = "";
let at = -1;
let row = null;
let begun = 0;
let seen = false; // Whether the verdict of this image was shown before it was decided.
let busy = false;
const done = []; // What was given here, for undo: indexes.

export async function drawReview(now) {
  if (!canLabel()) return byId("review").replaceChildren(...closed());
  reviewer ||= kept("reviewer") || report.data.view.reviewer || "";
  if (!now.design) {
    sample = null;
    return start();
  }
  if (sample?.design === now.design) return;
  await loadLabels();
  sample = await loadSample(now.design);
  done.length = 0;
  await showNext(-1);
}

function closed() {
  const run = report.data.run.url;
  return [
    element("p", {
      textContent:
        "To review images and keep what you say of them, open the report with this command, which fetches the full images with your credentials and writes labels beside the run:",
    }),
    element("pre", { textContent: `fakescan view ${shellWord(run)}` }),
    report.data.samples.length
      ? element("p", {
          className: "fine",
          textContent: `Drawn for review: ${report.data.samples.map(({ design, drawn }) => `${design} (${number(drawn)})`).join(", ")}.`,
        })
      : null,
  ].filter(Boolean);
}

async function start() {
  const { samples, run } = report.data;
  if (!samples.length) {
    return byId("review").replaceChildren(
      element("p", {
        textContent:
          "No sample was drawn yet. This draws 500 images, and says how sure the share will be; load this page again afterwards:",
      }),
      element("pre", { textContent: `fakescan review sample ${shellWord(run.url)} -n 500` }),
    );
  }
  await loadLabels();
  const agreed = await agreementOfAll();
  if (state().view !== "review" || state().design) return; // The reader has begun meanwhile.
  const name = element("input", {
    id: "reviewer",
    type: "text",
    maxLength: 200,
    value: reviewer,
    autocomplete: "name",
  });
  name.addEventListener("input", () => ((reviewer = name.value.trim()), keep("fakescan-reviewer", reviewer)));
  const list = element("ul", { className: "samples" });
  for (const one of samples) {
    const begin = button(
      "Review",
      () => {
        if (reviewer) return go({ design: one.design });
        name.setAttribute("aria-invalid", "true");
        name.focus();
        announce("Say who you are first.");
      },
      { className: "primary small" },
    );
    begin.setAttribute("aria-label", `Review the sample ${one.design}`);
    list.append(
      element(
        "li",
        {},
        element(
          "div",
          {},
          element("strong", { textContent: one.design }),
          element("p", {
            className: "fine",
            textContent: `${counted(one.drawn, "image")}: ${DESIGNS[one.design] ?? ""}`,
          }),
        ),
        begin,
      ),
    );
  }
  byId("review").replaceChildren(
    element("p", {
      textContent:
        "You see one image at a time and say what it is. What the model said comes after your answer, since it would lead you. Images are shown as soon as you begin.",
    }),
    element("label", { className: "field", htmlFor: "reviewer" }, "Who are you?", name),
    list,
    element("div", { id: "agreement" }, ...agreed),
  );
}

// ---- One image ------------------------------------------------------------------------------------------------------

/** Whether this reviewer has still to look: for `qa` again at what the same reviewer has labelled elsewhere. */
function isOpen({ sha256 }) {
  const label = labelOf(sha256, reviewer);
  return !label || (isSecondLook(label) && !secondLookOf(sha256, reviewer));
}

/** In the sample `qa`, a label that was not given in it is of a first look. */
const isSecondLook = (label) => sample.design === "qa" && label != null && label.second_look !== false;

async function showNext(after) {
  const { items } = sample;
  let next = items.findIndex((item, index) => index > after && isOpen(item));
  if (next < 0) next = items.findIndex(isOpen);
  await show(next);
}

async function show(index) {
  at = index;
  if (at < 0) return finished();
  const item = sample.items[at];
  row = await wholeRow(item.position);
  if (row.row_id !== item.row_id)
    return showProblem("The sample is of another report: make the report anew with `fakescan report`.");
  seen = false;
  const stage = element("div", {
    className: "stage-picture review-picture",
    id: "review-picture",
    dataset: { revealed: "true" },
  });
  const words = element("p", { className: "fine", id: "review-words", role: "status" });
  const choices = element("div", { className: "choices", role: "group", aria: { label: "What is it?" } });
  for (const [label, name, key] of WORDS) {
    const made = button(name, () => decide(label), { dataset: { label } });
    made.append(element("kbd", { textContent: key, aria: { hidden: true } }));
    choices.append(made);
  }
  const others = element(
    "div",
    { className: "row" },
    button("Skip", skip, { className: "quiet" }),
    button("Undo", undo, { className: "quiet", id: "undo", disabled: !done.length }),
    button("See the verdict first", reveal, { className: "quiet", id: "see-verdict" }),
    button("End", () => go({ design: null }), { className: "quiet" }),
  );
  const last = byId("last-answer") ?? element("div", { id: "last-answer", className: "last" });
  const focused = byId("review").contains(document.activeElement);
  byId("review").replaceChildren(
    progress(),
    element(
      "div",
      { className: "desk" },
      stage,
      element("div", { className: "answers" }, choices, others, element("div", { id: "verdict-first" }), last),
    ),
    words,
  );
  if (focused) choices.firstChild.focus({ preventScroll: true });
  begun = performance.now();
  showPicture(item, stage, words); // Whoever has seen enough need not wait for it.
}

function progress() {
  const given = sample.items.filter((item) => !isOpen(item)).length;
  const bar = element("progress", { max: sample.items.length, value: given, aria: { label: "Reviewed" } });
  return element(
    "div",
    { className: "progress" },
    bar,
    element("p", {
      className: "fine",
      textContent: `${number(given)} of ${number(sample.items.length)} by ${plain(reviewer)} · sample ${sample.design}`,
    }),
  );
}

async function showPicture(item, stage, words) {
  await showThumb(stage, row);
  if (sample?.items[at] !== item) return;
  begun = performance.now();
  try {
    const url = await fullImage(item.row_id);
    if (sample?.items[at] !== item) return URL.revokeObjectURL(url);
    const image = element("img", { alt: "", draggable: false, className: "whole" });
    image.addEventListener("load", () => URL.revokeObjectURL(url));
    image.src = url;
    stage.replaceChildren(image);
    begun = performance.now();
  } catch (error) {
    if (sample?.items[at] === item) setText(words, `The full image could not be fetched: ${plain(error.message)}.`);
  }
}

const answer = () =>
  [
    element(
      "p",
      { className: "verdict", dataset: badge(row.verdict).dataset },
      badge(row.verdict),
      element("span", { className: "score", textContent: row.score == null ? "" : `Score ${scoreWords(row.score)}` }),
    ),
    row.score == null ? null : meter(row.score, row.verdict),
  ].filter(Boolean);

function reveal() {
  seen = true;
  byId("verdict-first").replaceChildren(...answer());
  byId("see-verdict").disabled = true;
}

async function decide(label) {
  if (busy || at < 0) return;
  busy = true;
  const item = sample.items[at];
  try {
    await giveLabel({
      sha256: item.sha256,
      row_id: item.row_id,
      label,
      reviewer,
      seconds: Math.round((performance.now() - begun) / 100) / 10,
      seen_score: seen,
      second_look: sample.design === "qa" ? isSecondLook(labelOf(item.sha256, reviewer)) : null,
      note: null,
    });
    showProblem("");
    done.push(at);
    const said = element("p", { className: "fine", textContent: `You said ${label}. The model:` });
    const last = byId("last-answer");
    last.replaceChildren(said, ...answer());
    announce(`${label}. The model said ${badge(row.verdict).textContent}.`);
    await showNext(at);
  } catch (error) {
    showProblem(`The label was not written: ${plain(error.message)}.`);
  } finally {
    busy = false;
  }
}

async function skip() {
  if (busy || at < 0) return;
  const { items } = sample;
  const next = items.findIndex((item, index) => index > at && isOpen(item));
  await show(next >= 0 ? next : items.findIndex(isOpen));
}

async function undo() {
  if (busy || !done.length) return;
  busy = true;
  try {
    await takeBack(sample.items[done.at(-1)].sha256, reviewer);
    const index = done.pop();
    byId("last-answer")?.replaceChildren();
    announce("Taken back.");
    await show(index);
  } catch (error) {
    showProblem(`The label was not taken back: ${plain(error.message)}.`);
  } finally {
    busy = false;
  }
}

function finished() {
  const run = report.data.run.url;
  byId("review").replaceChildren(
    progress(),
    element("p", {
      className: "statement",
      textContent: `All ${counted(sample.items.length, "image")} of this sample are reviewed.`,
    }),
    element(
      "p",
      {},
      "What they say of the whole: ",
      element("code", { textContent: `fakescan prevalence ${shellWord(run)}` }),
    ),
    element("div", {}, ...agreementWords(sample.items.map(({ sha256 }) => sha256))),
    element(
      "div",
      { className: "row" },
      button("Undo the last", undo, { disabled: !done.length }),
      button("Other samples", () => go({ design: null })),
    ),
  );
}

/** A key of the review was pressed. */
export function pressInReview(key) {
  if (!sample || !state().design) return;
  const act = {
    f: () => decide("fake"),
    r: () => decide("real"),
    u: () => decide("unsure"),
    s: skip,
    z: undo,
    v: reveal,
  }[key];
  act?.();
}
