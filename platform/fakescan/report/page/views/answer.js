// A verdict in words and on the line of scores.

import { element, icon } from "../dom.js";
import { outcomeOf, report, verdictName } from "../model/report.js";

/** Icon and name of a verdict. */
export const badge = (verdict) =>
  element(
    "span",
    { className: "badge", dataset: { outcome: outcomeOf(verdict) } },
    icon(outcomeOf(verdict)),
    element("span", { textContent: verdictName(verdict) }),
  );

/** A score that is neither rounded to 1 nor to 0, nor over the threshold. */
export function scoreWords(score) {
  if (score == null) return "";
  if (score > 0.995 && score < 1) return "> 0.99";
  if (score > 0 && score < 0.005) return "< 0.01";
  const { threshold } = report.data.run;
  const words = score.toFixed(2);
  return Number(words) >= threshold === score >= threshold ? words : score.toFixed(4);
}

/** The score on the line from 0 to 1, with the threshold and the uncertain band. */
export function meter(score, verdict) {
  const { threshold, uncertain_low: low, uncertain_high: high } = report.data.run;
  const track = element("span", { className: "track" });
  if (low != null && high != null) {
    const band = element("span", { className: "band" });
    band.style.left = `${low * 100}%`;
    band.style.right = `${(1 - high) * 100}%`;
    track.append(band);
  }
  const tick = element("span", { className: "tick" });
  tick.style.left = `${threshold * 100}%`;
  const mark = element("span", { className: "mark" });
  mark.style.left = `${score * 100}%`;
  track.append(tick, mark);
  const made = element(
    "div",
    {
      className: "meter",
      role: "meter",
      dataset: { outcome: outcomeOf(verdict) },
      aria: { label: "Score", valuemin: 0, valuemax: 1, valuenow: score },
    },
    track,
  );
  made.style.setProperty("--threshold", threshold);
  const ends = element(
    "span",
    { className: "ends" },
    element("span", { textContent: `0` }),
    element("span", { textContent: `threshold ${threshold}` }),
    element("span", { textContent: "fake · 1" }),
  );
  ends.children[1].style.left = `${threshold * 100}%`;
  made.append(ends);
  return made;
}

/** Sentences that must stand beside verdicts. */
export const cautions = () =>
  (report.data.run.cautions ?? []).map((words) => element("p", { className: "caution", textContent: words }));
