// The export: what the page shows of each image, with the reviewer's decision, as a page to read, a table, and data.

import { byId, counted, element, jsonOf, saveFile, visible } from "./dom.js";
import { isOver, items, settings } from "./items.js";
import { shownItems } from "./gallery.js";
import { smallCopy } from "./preview.js";
import { server } from "./server.js";
import {
  DECISIONS, WORDS, findingOf, isMoved, limitsOf, meaningOf, modelOf, originWords, outcomeOf, remarkOf, scoreText,
  serverBand, serverLimit, sureWords,
} from "./verdict.js";

const COLUMNS = ["width", "height", "format", "num_bytes", "logit", "off_script", "leans"]; // Of the server's result, in the table.
const THUMBNAIL = 320; // Pixels of the longer side in the case file.

function chosen() {
  const which = document.querySelector("[name=which]:checked").value;
  const from = which === "shown" ? shownItems() : items;
  return from.filter((item) => isOver(item) && (which !== "decided" || item.decision));
}

/** One image as the exports have it, the server's own fields under `result`. */
function record(item) {
  const judged = item.result?.verdict != null;
  const { threshold, low, high } = limitsOf(item);
  return {
    name: item.name,
    sha256: item.sha256 || null,
    decision: item.decision || null,
    note: item.note || null,
    decided_at: item.decided,
    finding: findingOf(item),
    verdict: item.result?.verdict ?? null,
    score: item.result?.score ?? null,
    threshold: judged ? threshold : null,
    uncertain_low: judged ? low : null,
    uncertain_high: judged ? high : null,
    threshold_of: judged ? (isMoved(item) ? "reviewer" : "server") : null,
    server_threshold: item.answer?.threshold ?? null,
    remark: remarkOf(item) || null,
    file_note: item.result?.note ?? null,
    how_sure: judged ? sureWords(item) || null : null,
    explanation: item.explanation || null,
    provenance: item.result?.provenance?.origin ?? null,
    provenance_basis: item.result?.provenance?.basis ?? null,
    provenance_generator: item.result?.provenance?.generator ?? null,
    provenance_signer: item.result?.provenance?.signer ?? null,
    provenance_words: originWords(item) || null,
    model: item.result ? modelOf(item) : null,
    notice: item.answer?.notice ?? server.about?.notice ?? null,
    request_id: item.requestId ?? null,
    error_code: item.problem?.code ?? null,
    error_message: item.problem?.message ?? null,
  };
}

const stem = () => {
  const name = byId("case-name").value.trim().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60);
  return `fakescan-${name || "results"}`;
};

const head = (chosenItems) => ({
  case: byId("case-name").value.trim() || null,
  reviewer: byId("reviewer").value.trim() || null,
  saved_at: new Date().toISOString(),
  server: location.origin,
  models: [...new Set(chosenItems.filter(({ result }) => result).map(modelOf))],
});

function saveJson() {
  const list = chosen();
  const results = list.map((item) => ({ ...record(item), timings: item.answer?.timings ?? null, result: item.result }));
  saveFile(`${stem()}.json`, "application/json", jsonOf({ ...head(list), results }));
}

/** A field of CSV (RFC 4180). A spreadsheet must not take a file's name or a note for a formula. */
function field(value) {
  let text = value == null ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function saveCsv() {
  const list = chosen();
  const { case: title, reviewer, saved_at: savedAt } = head(list);
  const rows = list.map((item) => {
    const own = Object.fromEntries(COLUMNS.map((name) => [name, item.result?.[name] ?? null]));
    return { ...record(item), name: visible(item.name), ...own, case: title, reviewer, saved_at: savedAt };
  });
  const names = Object.keys(rows[0] ?? {});
  const lines = [names, ...rows.map((row) => names.map((name) => row[name]))];
  // The mark in front tells spreadsheets that this is UTF-8.
  saveFile(`${stem()}.csv`, "text/csv", `\ufeff${lines.map((line) => line.map(field).join(",")).join("\r\n")}\r\n`);
}

// ---- The page to read -----------------------------------------------------------------------------------------------

const STYLE = `
  :root { color-scheme: light; font: 15px/1.5 -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", Arial, sans-serif; }
  body { max-width: 62rem; margin: 2.5rem auto; padding: 0 1.5rem; color: #17181a; }
  h1 { font-size: 1.9rem; letter-spacing: -0.02em; margin: 0 0 0.3rem; } p { margin: 0.3rem 0; }
  .fine, dt { color: #5c5f63; font-size: 0.87rem; } .notice { margin: 1.2rem 0; padding: 0.7rem 1rem; background: #f1eee7; border-left: 4px solid #7c5000; }
  article { display: grid; grid-template-columns: 15rem 1fr; gap: 1.5rem; padding: 1.4rem 0; border-top: 1px solid #cfccc4; break-inside: avoid; }
  h2 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
  .frame { position: relative; overflow: hidden; } img { display: block; width: 100%; } .seen { position: absolute; outline: 2px solid #fff; box-shadow: 0 0 0 99rem #0008; }
  .none { padding: 3rem 1rem; text-align: center; background: #f1eee7; color: #5c5f63; font-size: 0.87rem; }
  .finding { font-size: 1.25rem; font-weight: 650; } .fake { color: #b3261e; } .real { color: #0b6a5c; } .uncertain { color: #7c5000; } .unfound, .nothing, .error { color: #55606b; }
  .line { position: relative; height: 1.1rem; margin: 0.3rem 0 0.5rem; max-width: 26rem; } .line::before { content: ""; position: absolute; inset: 50% 0 auto; border-top: 2px solid #85827b; }
  .line u { position: absolute; inset: 3px auto 3px 0; background: #e3d4b4; }
  .line b { position: absolute; top: 0; bottom: 0; width: 2px; background: #17181a; } .line i { position: absolute; top: 50%; width: 10px; height: 10px; margin: -5px; background: currentColor; rotate: 45deg; }
  .review { margin-top: 0.8rem; padding: 0.6rem 0.9rem; background: #eef1f4; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }
  dl { display: grid; grid-template-columns: auto 1fr; gap: 0 1rem; margin: 0.8rem 0 0; } dd { margin: 0; font-size: 0.87rem; overflow-wrap: anywhere; }
  @media (max-width: 40rem) { article { grid-template-columns: 1fr; } }`;

/** A time by the one clock of the whole page. */
const utc = (time) => `${time.slice(0, 16).replace("T", " ")} UTC`;

async function saveHtml() {
  const list = chosen();
  const facts = head(list);
  const page = document.implementation.createHTMLDocument(facts.case ?? "Case file");
  page.documentElement.lang = "en";
  const meta = (fields) => Object.entries(fields).reduce((tag, [name, value]) => (tag.setAttribute(name, value), tag), page.createElement("meta"));
  const policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
  page.head.prepend(meta({ charset: "utf-8" }), meta({ "http-equiv": "Content-Security-Policy", content: policy }), meta({ name: "viewport", content: "width=device-width" }));
  const counts = ["fake", "real", "unfound", "uncertain", "nothing", "error"].map((is) => [is, list.filter((item) => outcomeOf(item) === is).length]);
  const said = counts.filter(([, count]) => count).map(([is, count]) => `${count} ${WORDS[is].toLowerCase()}`).join(", ");
  const decided = list.filter(({ decision }) => decision).length;
  page.body.append(
    element("h1", facts.case ?? "Case file"),
    element("p", [facts.reviewer && `Reviewer: ${facts.reviewer}`, `Saved ${utc(facts.saved_at)}`, `Model: ${facts.models.join(", ")}`].filter(Boolean).join(" · "), { className: "fine" }),
    element("p", `${counted(list.length, "image")}: ${said}. ${decided} of them decided by the reviewer.`),
    element("p", "A verdict is what a model says, and no proof. The decision is the reviewer’s.", { className: "fine" }),
  );
  const notices = new Set(list.map((item) => record(item).notice).filter(Boolean));
  for (const notice of notices) page.body.append(element("p", notice, { className: "notice" }));
  for (const item of list) page.body.append(await article(item));
  // As text: a style element, even of a page that is never shown, is against the content policy of this one.
  const html = page.documentElement.outerHTML.replace("</head>", () => `<style>${STYLE}</style></head>`);
  saveFile(`${stem()}.html`, "text/html", `<!doctype html>\n${html}\n`);
}

async function article(item) {
  const found = record(item);
  const is = outcomeOf(item) ?? "error";
  const text = element("div");
  text.append(element("h2", visible(item.name)), element("p", WORDS[is] + (found.score == null ? "" : `  ·  score ${scoreText(item)}`), { className: `finding ${is}` }));
  if (found.score != null) text.append(lineOf(found, is));
  const paragraphs = [found.error_message, found.remark, found.how_sure, found.provenance_words].filter(Boolean);
  text.append(...paragraphs.map((words) => element("p", words)));
  if (found.explanation) text.append(element("p", `In the model’s own words: ${found.explanation}`));
  const said = found.decision ? `Reviewer: ${DECISIONS[found.decision]}` : "Reviewer: no decision";
  const when = found.decided_at ? ` (${utc(found.decided_at)})` : "";
  text.append(element("p", `${said}${when}${found.note ? `\n${found.note}` : ""}`, { className: "review" }));
  const facts = element("dl");
  const rows = { "SHA-256": found.sha256, "The file": found.file_note, ...limitsIn(item, found), Model: meaningOf(item) === "none" ? null : found.model, Request: found.request_id };
  for (const [name, value] of Object.entries(rows)) if (value) facts.append(element("dt", name), element("dd", value));
  text.append(facts);
  const box = element("article");
  box.append(await figureOf(item), text);
  return box;
}

/** By which threshold and band the verdict came about, and what the server made of the image by its own. */
function limitsIn(item, { threshold, uncertain_low: low, uncertain_high: high }) {
  if (threshold == null) return {};
  const band = serverBand(item);
  const own = settings.threshold != null && threshold !== serverLimit(item);
  return {
    Threshold: `${digitsOf(threshold)} (the ${own ? "reviewer" : "server"}’s)`,
    "Uncertain scores": `${bandWords(low, high)} (the ${settings.band != null || (own && band) ? "reviewer" : "server"}’s)`,
    "The server’s verdict": isMoved(item)
      ? `${item.result.finding ?? item.result.verdict} (threshold ${digitsOf(serverLimit(item))}; uncertain scores ${bandWords(band?.low, band?.high)})`
      : null,
  };
}

const digitsOf = (number) => String(Number(number.toPrecision(6)));
const bandWords = (low, high) => (low == null ? "none" : `from ${digitsOf(low)} to under ${digitsOf(high)}`);

function lineOf({ score, threshold, uncertain_low: low, uncertain_high: high }, is) {
  const line = element("div", "", { className: `line ${is}` });
  if (low != null) {
    const band = element("u");
    Object.assign(band.style, { left: `${low * 100}%`, width: `${(high - low) * 100}%` });
    line.append(band);
  }
  const [limit, mark] = [element("b"), element("i")];
  limit.style.left = `${threshold * 100}%`;
  mark.style.left = `${score * 100}%`;
  line.append(limit, mark);
  return line;
}

async function figureOf(item) {
  const source = (item.file && (await smallCopy(item.file, THUMBNAIL))) || item.preview;
  if (!source) return element("div", "No preview", { className: "none" });
  const frame = element("div", "", { className: "frame" });
  frame.append(element("img", "", { src: source, alt: visible(item.name) }));
  const { seen, width, height } = item.result ?? {};
  if (seen && seen.share < 0.995) {
    const square = element("span", "", { className: "seen" });
    const [left, top, wide, high] = [seen.left / width, seen.top / height, seen.width / width, seen.height / height];
    square.style.cssText = `left:${left * 100}%;top:${top * 100}%;width:${wide * 100}%;height:${high * 100}%`;
    frame.append(square);
  }
  const figure = element("div");
  figure.append(frame);
  return figure;
}

// ---- The dialog -----------------------------------------------------------------------------------------------------

function say() {
  const count = chosen().length;
  byId("export-words").textContent = count ? `${counted(count, "image")} will be in the file.` : "There is nothing to export in this choice.";
  for (const name of ["save-html", "save-csv", "save-json"]) byId(name).disabled = count === 0;
}

/** Save, and say when it is done: the pictures of a long case take a while. */
const saving = (save) => async () => {
  byId("export-words").textContent = "Writing…";
  await save();
  byId("export-words").textContent = `Saved ${counted(chosen().length, "image")}.`;
};

export function listenForExport() {
  byId("open-export").addEventListener("click", () => {
    byId("export").showModal();
    say();
  });
  byId("close-export").addEventListener("click", () => byId("export").close());
  byId("save-html").addEventListener("click", saving(saveHtml));
  byId("save-csv").addEventListener("click", saving(saveCsv));
  byId("save-json").addEventListener("click", saving(saveJson));
  for (const radio of document.getElementsByName("which")) radio.addEventListener("change", say);
}
