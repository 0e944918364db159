// The stability strip of one image: what the model says of it, changed as pictures are on their way through the web.

import { element, plain } from "../dom.js";
import { report, verdictName } from "../model/report.js";
import { scoreWords } from "./answer.js";

/** Columns that the strip shows, so that nothing else need. */
export const STRIP_COLUMNS = [
  "verdict_holds",
  "strip_note",
  "score_spread",
  ...["jpeg70", "half", "small", "flip", "pad"].map((name) => `score_${name}`),
];

/** The strip, or null for an image that was not looked at again. */
export function strip(row) {
  const known = report.data.strip?.variants ?? [];
  if (!known.some(({ name }) => row[`score_${name}`] != null) && !row.strip_note) return null;
  const own = verdictAt(row.score);
  const cells = known.map(({ name, words }) => {
    const score = row[`score_${name}`];
    const verdict = score == null ? null : verdictAt(score);
    return element(
      "li",
      { dataset: { turned: String(verdict != null && verdict !== own) } },
      element("span", { textContent: plain(words) }),
      element("span", {
        className: "score",
        textContent: score == null ? "not judged" : `${verdictName(verdict)} ${scoreWords(score)}`,
      }),
    );
  });
  return element(
    "div",
    {},
    element("h3", { textContent: WORDS[String(row.verdict_holds ?? null)] }),
    element("ul", { className: "strip" }, ...cells),
    row.strip_note ? element("p", { className: "fine", textContent: plain(row.strip_note) }) : null,
  );
}

const WORDS = {
  true: "The verdict holds when the image is changed",
  false: "The verdict does not hold when the image is changed",
  null: "Not every change could be judged",
};

function verdictAt(score) {
  const { threshold, uncertain_low: low, uncertain_high: high } = report.data.run;
  if (low != null && high != null && low <= score && score < high) return "uncertain";
  return score >= threshold ? "fake" : "real";
}
