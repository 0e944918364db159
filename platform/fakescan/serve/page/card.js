// One image as a card or as a row of the list: the same elements, in another order of the style sheet.

import { byId, bytes, element, plain, setText, visible } from "./dom.js";
import { isJudged, isOver, settings } from "./items.js";
import { locked, server } from "./server.js";
import {
  DECISIONS, WORDS, digits, isContradicted, limitsOf, modelOf, originWords, outcomeOf, remarkOf, scoreText, sureWords,
} from "./verdict.js";

const WHOLE = 0.995; // A model that saw this share of a picture saw all of it.
const UNSHOWABLE = { not_an_image: "Not an image", empty: "The file is empty", truncated: "Too damaged to show" }; // By code.

/** Make an item's card; `actions` are what its buttons do: open, remove, cancel, retry. */
export function makeCard(item, actions) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const picture = card.querySelector("img");
  const name = visible(item.name);
  picture.alt = `Preview of ${name}`;
  picture.addEventListener("load", () => {
    picture.hidden = false;
    card.querySelector(".no-preview").hidden = true;
    card.querySelector(".open").hidden = false;
    card.style.setProperty("--ratio", picture.naturalWidth / picture.naturalHeight);
  });
  picture.addEventListener("error", () => noPicture(item));
  card.querySelector(".answer").append(byId("answer").content.cloneNode(true));
  setText(card.querySelector(".name"), name);
  card.querySelector(".name").title = name;
  card.querySelector(".open").setAttribute("aria-label", `Full view of ${name}`);
  card.querySelector(".retry").setAttribute("aria-label", `Try again: ${name}`);
  card.querySelector("summary").setAttribute("aria-label", `Details of ${name}`);
  card.querySelector(".open").addEventListener("click", () => actions.open(item));
  card.querySelector(".remove").addEventListener("click", ({ detail }) => {
    // A double click would remove what it cancelled, or the next image, which has moved under the pointer.
    if (detail < 2) (isOver(item) ? actions.remove : actions.cancel)(item);
  });
  card.querySelector(".retry").addEventListener("click", () => {
    card.querySelector(".remove").focus(); // The button that was pressed vanishes.
    actions.retry(item);
  });
  return card;
}

/** Why there is no picture. The browser is to blame only where the server could read the file. */
export function noPictureWords(item) {
  if (UNSHOWABLE[item.problem?.code]) return UNSHOWABLE[item.problem.code];
  if (!item.file) return "No preview was kept";
  return isJudged(item) ? "This browser cannot show a preview" : "No preview";
}

function noPicture({ card }) {
  card.querySelector("img").hidden = true;
  card.querySelector(".open").hidden = true;
  card.querySelector(".no-preview").hidden = false;
}

export function drawCard(item) {
  const { card } = item;
  const part = (name) => card.querySelector(`.${name}`);
  card.dataset.state = item.state;
  card.dataset.outcome = outcomeOf(item) ?? "";
  card.setAttribute("aria-busy", String(!isOver(item)));
  const isRow = byId("gallery").dataset.view === "list"; // Hundreds of whole photographs would fill the memory.
  const shown = (isRow && item.preview) || item.picture || item.preview;
  const picture = part("preview").querySelector("img");
  if (!shown) noPicture(item);
  else if (picture.getAttribute("src") !== shown) picture.src = shown;
  setText(part("no-preview").querySelector("span"), noPictureWords(item));
  drawSeen(part("frame").querySelector(".seen"), item);
  part("remove").setAttribute("aria-label", `${isOver(item) ? "Remove" : "Cancel"} ${visible(item.name)}`);
  part("remove").title = isOver(item) ? "Remove" : "Cancel";
  drawAnswer(part("answer"), item);
  part("decided").hidden = !item.decision && !item.note;
  setText(part("decided").querySelector("strong"), item.decision ? `You: ${DECISIONS[item.decision]}` : "Your note");
  setText(part("decided").querySelector("span"), item.note);
  part("retry").hidden = !item.problem?.again || !item.file;
  drawDetails(card.querySelector("details"), item);
}

/** Verdict, line, words: in a card and in the full view. */
export function drawAnswer(root, item) {
  const part = (name) => root.querySelector(`.${name}`);
  const is = outcomeOf(item);
  const judged = isJudged(item);
  root.dataset.outcome = is ?? "";
  root.dataset.state = item.state;
  part("verdict").hidden = !is;
  if (is) part("verdict").querySelector("use").setAttribute("href", `#icon-${is}`);
  setText(part("word"), WORDS[is] ?? "");
  setText(part("score"), judged ? `Score ${scoreText(item)}` : "");
  part("meter").hidden = !judged;
  if (judged) drawMeter(part("meter"), item);
  setText(part("state"), stateWords(item));
  setText(part("caution"), remarkOf(item));
  setText(part("sure"), judged ? sureWords(item) : "");
  setText(part("origin"), originWords(item));
  part("origin").dataset.contradicts = String(isContradicted(item));
  part("said").hidden = !item.explanation;
  setText(part("explanation"), item.explanation ?? "");
}

function drawMeter(meter, item) {
  const { score } = item.result;
  const { threshold, low, high } = limitsOf(item);
  const limit = threshold.toFixed(digits(item));
  const name = server.about?.calibrated === false ? "How far the model leans to fake" : "Probability that the image is fake";
  meter.setAttribute("aria-label", name);
  meter.style.setProperty("--score", score);
  meter.style.setProperty("--threshold", threshold);
  meter.style.setProperty("--low", low ?? threshold);
  meter.style.setProperty("--high", high ?? threshold);
  meter.setAttribute("aria-valuenow", score.toFixed(digits(item)));
  meter.setAttribute("aria-valuetext", `${scoreText(item)}; the threshold is ${limit}`);
  setText(meter.querySelector(".limit"), `${settings.threshold == null ? "threshold" : "your threshold"} ${limit}`);
}

/** The square that the model saw, over a picture that is larger than that. */
export function drawSeen(frame, item) {
  const { seen, width, height } = item.result ?? {};
  const whole = !seen || !width || !height || seen.share >= WHOLE;
  frame.hidden = whole;
  if (whole) return;
  frame.style.left = `${(seen.left / width) * 100}%`;
  frame.style.top = `${(seen.top / height) * 100}%`;
  frame.style.width = `${(seen.width / width) * 100}%`;
  frame.style.height = `${(seen.height / height) * 100}%`;
}

export function drawDetails(details, item) {
  details.hidden = !isOver(item) || !item.result;
  if (details.hidden) return;
  const { logit, off_script: offScript, leans, width, height, format, num_bytes: size, seen, note } = item.result;
  const said = item.result.provenance;
  const times = Object.entries(item.answer?.timings ?? {}).map(([name, ms]) => `${name.replace(/_ms$/, "")} ${ms.toFixed(0)} ms`);
  const facts = {
    Logit: logit?.toFixed(3),
    "Own word": leans,
    "Off-script": offScript?.toPrecision(2),
    "Server’s threshold": item.answer?.threshold,
    Picture: width && `${width} × ${height} pixels, ${format}`,
    Seen: seen && (seen.share >= WHOLE ? "all of it" : `${seen.width} × ${seen.height} pixels from (${seen.left}, ${seen.top})`),
    File: size && bytes(size),
    "The file": note,
    Origin: said?.origin === "none" ? said.words : null,
    Generator: said?.generator && plain(said.generator),
    Signer: said?.signer && plain(said.signer),
    "SHA-256": item.sha256,
    Model: modelOf(item),
    Request: item.requestId,
    Time: times.join(", "),
  };
  const rows = Object.entries(facts).filter(([, value]) => value != null && value !== "");
  details.querySelector("dl").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function stateWords(item) {
  if (item.state === "queued") return server.about && locked() ? "Waiting for a key" : "Waiting its turn";
  if (item.state === "working") return item.result ? "" : "Sending and judging…";
  if (item.state === "waiting") return item.words;
  const incomplete = item.state === "failed" && isJudged(item);
  return `${incomplete ? "The explanation is incomplete. " : ""}${item.problem?.message ?? ""}`;
}
