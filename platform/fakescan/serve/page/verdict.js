// What an answer amounts to under the page's threshold and band, and how it is put in words. No element is touched here.

import { plain } from "./dom.js";
import { isJudged, settings } from "./items.js";
import { server } from "./server.js";

export const WORDS = {
  fake: "Fake", real: "Real", uncertain: "Uncertain", unfound: "No forgery found", nothing: "Means nothing", error: "No verdict",
};
export const DECISIONS = { fake: "Fake", real: "Real", unsure: "Unsure" };

const FINDINGS = { fake: "fake", real: "real", uncertain: "uncertain", "no forgery found": "unfound", "means nothing": "nothing" };
const NOTHING = "says nothing about its origin"; // The server's words.
const UNFOUND =
  "No forgery found, which does not make the image real: the model knows no generator and does not notice generated images.";

/** What a verdict of the model that gave this answer is worth: full, forgeries (it knows no generator) or none. */
export const meaningOf = (item) => item?.answer?.meaning ?? server.about?.meaning ?? "full";
export const modelOf = (item) => item.answer?.model ?? server.about?.model ?? "";
export const serverLimit = (item) => item?.answer?.threshold ?? server.about?.threshold ?? 0.5;

/** The server's own uncertain scores; null where it has none. */
export function serverBand(item) {
  const { uncertain_low: low, uncertain_high: high } = { ...server.about, ...item?.answer };
  return low == null || high == null ? null : { low, high };
}

/** The threshold and the uncertain scores, `low` to just under `high`, that hold for an image on this page. */
export function limitsOf(item) {
  const limit = serverLimit(item);
  const threshold = settings.threshold ?? limit;
  if (settings.band != null) {
    const none = settings.band === 0;
    return { threshold, low: none ? null : Math.max(0, threshold - settings.band), high: none ? null : Math.min(1, threshold + settings.band) };
  }
  const band = serverBand(item);
  if (!band) return { threshold, low: null, high: null };
  const shift = threshold - limit; // The server's band goes with the line.
  return { threshold, low: Math.max(0, band.low + shift), high: Math.min(1, band.high + shift) };
}

/** Whether the page's own settings, and not the server's, decide about an image. */
export const isMoved = (item) =>
  (settings.threshold != null && settings.threshold !== serverLimit(item)) || settings.band != null;

function verdictOf(item) {
  if (!isMoved(item)) return item.result.verdict;
  const { threshold, low, high } = limitsOf(item);
  const { score } = item.result;
  if (low != null && low <= score && score < high) return "uncertain";
  return score >= threshold ? "fake" : "real";
}

/**
 * fake, real, uncertain, unfound (no forgery found, by a model that knows no generator), nothing (it means nothing), error,
 * or undefined while there is none. An answer cut off after its verdict keeps it.
 */
export function outcomeOf(item) {
  if (!isJudged(item)) return item.state === "failed" ? "error" : undefined;
  const { finding } = item.result;
  if (!isMoved(item) && finding in FINDINGS) return FINDINGS[finding];
  const meaning = meaningOf(item);
  if (meaning === "none") return "nothing";
  const verdict = verdictOf(item);
  return meaning === "forgeries" && verdict === "real" ? "unfound" : verdict;
}

/** The finding as the server calls it. */
export const findingOf = (item) => Object.keys(FINDINGS).find((name) => FINDINGS[name] === outcomeOf(item)) ?? null;

/** What must stand beside a verdict: the server's sentences, with those that the page's own threshold changes made anew. */
export function remarkOf(item) {
  if (!isJudged(item)) return "";
  const { remark, remarks = [] } = item.result;
  if (!isMoved(item)) return remark ?? "";
  const kept = (...kinds) => remarks.filter(({ kind }) => kinds.includes(kind)).map(({ words }) => words);
  const meaning = meaningOf(item) === "none" ? kept("meaning") : outcomeOf(item) === "unfound" ? [UNFOUND] : [];
  return [...meaning, leaning(item), ...kept("off_script", "seen")].filter(Boolean).join(" ");
}

/** Where the verdict is not the model's own word: what its word is, and what made the verdict of it; the server's sentences. */
function leaning(item) {
  const { leans, score } = item.result;
  const verdict = verdictOf(item);
  if (meaningOf(item) === "none" || leans === verdict || (!leans && verdict !== "uncertain")) return "";
  const { threshold, low, high } = limitsOf(item);
  const [said, limit] = [scoreText(item).replace("> ", "over ").replace("< ", "under "), threshold.toFixed(digits(item))];
  const what =
    verdict === "uncertain"
      ? `within the uncertain scores from ${low.toFixed(2)} to ${high.toFixed(2)}`
      : verdict === "real"
        ? `below your threshold of ${limit}`
        : `and from your threshold of ${limit} on an image counts as fake`;
  if (!leans) return `The model leans to neither word (${said}), ${what}.`;
  if ((leans === "fake") === score >= 0.5) return `The model leans to ${leans} (${leans === "fake" ? said : `score ${said}`}), ${what}.`;
  return `The model’s own word is ${leans}; calibrated, its score is ${said}, ${what}.`;
}

// ---- What the file says ----------------------------------------------------------------------------------------------

/** What the file says of its own origin, which is no part of the verdict; "" for one that says nothing at all. */
export function originWords(item) {
  const { origin, words, detail } = item.result?.provenance ?? {};
  if (!words || (origin === "none" && (!detail || words === NOTHING))) return "";
  if (!origin) return `The file: ${plain(words)}.`;
  return ["none", "signed_other"].includes(origin) ? `The file ${plain(words)}.` : `The file says of its origin: ${plain(words)}.`;
}

/** Whether a trusted signer contradicts the verdict: one of the two is wrong. */
export function isContradicted(item) {
  const { origin, basis } = item.result?.provenance ?? {};
  if (basis !== "c2pa_trusted" || !isJudged(item)) return false;
  const outcome = outcomeOf(item);
  return origin === "ai_generated" ? outcome === "real" : origin === "captured" && outcome === "fake";
}

// ---- How sure -------------------------------------------------------------------------------------------------------

export const RATES = [0.5, 0.1, 0.01, 0.001];
export const rateOf = () => settings.rate ?? server.about?.base_rate ?? 0.01;

/** How likely an image with this score is fake where `rateOf()` of all images are, 0 to 1; null where nobody knows. */
export function chanceOf(item) {
  const sure = item.result?.how_sure;
  if (!sure || !isJudged(item)) return null;
  const rate = rateOf();
  const known = sure.at?.find(({ base_rate: base }) => base === rate);
  if (known) return known.probability;
  const { base_rate: base, probability } = sure;
  const odds = ((probability / (1 - probability)) * (rate / (1 - rate))) / (base / (1 - base));
  return odds / (1 + odds);
}

/** The chance in words: the server's where it speaks of the same share of fakes. */
export function sureWords(item) {
  const chance = chanceOf(item);
  if (chance == null) return "";
  const { how_sure: sure } = item.result;
  if (rateOf() === sure.base_rate) return sure.words;
  const kind = kindOf(item);
  const share = shareWords(item, chance, "\u00a0%");
  const words = `The calibration says: of images like its own with this score, ${share} are ${kind} where ${percent(rateOf())} of all are.`;
  return kind === "forged" ? `${words} It says nothing of generated images.` : words;
}

/** The same for a hundred images. */
export const hundredWords = (item, chance) =>
  `Of 100 images like the calibration’s with this score, ${shareWords(item, chance, "")} are ${kindOf(item)} where ${percent(rateOf())} of all are.`;

const kindOf = (item) => (meaningOf(item) === "forgeries" ? "forged" : "fake");

/** "about 24 %". At the edge of what a calibration can show, the server says "at least" or "at most". */
function shareWords(item, chance, unit) {
  const count = Math.round(chance * 100);
  if (count === 0) return `under 1${unit}`;
  if (count === 100) return `over 99${unit}`;
  return `${item.result.how_sure.words.match(/\bat (least|most)\b/)?.[0] ?? "about"} ${count}${unit}`;
}

export const percent = (share) => `${Number((share * 100).toPrecision(3))}\u00a0%`;

// ---- Numbers --------------------------------------------------------------------------------------------------------

/** Decimals that tell the score from the threshold, and the threshold from 0 and 1; at least two. */
export function digits(item) {
  const { threshold } = limitsOf(item);
  for (let count = 2; count < 6; count++) {
    const [score, limit] = [item.result.score.toFixed(count), threshold.toFixed(count)];
    const same = score === limit && item.result.score !== threshold;
    if (!same && Number(limit) > 0 && Number(limit) < 1) return count;
  }
  return 6;
}

/** The score in digits; never "1.00" or "0.00", which would say that the model is certain. */
export function scoreText(item) {
  const count = digits(item);
  const text = item.result.score.toFixed(count);
  if (Number(text) === 1) return `> ${(1 - 10 ** -count).toFixed(count)}`;
  return Number(text) === 0 ? `< ${(10 ** -count).toFixed(count)}` : text;
}
