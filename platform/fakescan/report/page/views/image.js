// One image, with everything known about it.

import { go, hashOf, imagesHash, state } from "../address.js";
import { bytes, byId, copyButton, counted, element, number, plain, plainLines, setText, showProblem } from "../dom.js";
import { imagesOfPicture, positionOf } from "../model/selection.js";
import { knowLabels, labels } from "../model/labels.js";
import { originLabel } from "../model/origins.js";
import { report } from "../model/report.js";
import { cardRows, nameOf, wholeRow } from "../model/rows.js";
import { badge, cautions, meter, scoreWords } from "./answer.js";
import { chosenImages, focusImage } from "./gallery.js";
import { showThumb } from "./picture.js";
import { STRIP_COLUMNS, strip } from "./strip.js";
import { isBlurred, onBlur } from "../settings.js";

let row = null;
let selection = null;
let index = -1;
let opened = 0;

/** Open the image that the address names, or close. */
export async function drawImage(now) {
  const dialog = byId("image");
  if (!now.image) {
    if (dialog.open) dialog.close();
    return;
  }
  const mine = ++opened;
  if (!dialog.open) dialog.showModal();
  dialog.setAttribute("aria-busy", "true");
  let { position, rowId } = now.image;
  if (row?.row_id !== rowId) byId("stage-picture").replaceChildren();
  let found = position < report.data.rows.count ? await wholeRow(position) : null;
  if (found?.row_id !== rowId) {
    position = await positionOf(rowId); // The link is of another report.
    if (position < 0) {
      go({ image: null }, { replace: true });
      return showProblem(`There is no row ${rowId} in this report.`);
    }
    found = await wholeRow(position);
  }
  await knowLabels();
  selection = now.view === "images" ? await chosenImages(now) : null;
  if (mine !== opened) return;
  [row, index] = [found, selection ? selection.indexOf(position) : -1];
  dialog.removeAttribute("aria-busy");
  draw();
}

function draw() {
  const { name } = nameOf(row.uri);
  byId("image-name").textContent = plain(name);
  byId("image-place").textContent =
    index >= 0 ? `${number(index + 1)} of ${counted(selection.length, "image")}` : `Row ${number(row.row_id)}`;
  byId("previous").disabled = index <= 0;
  byId("next").disabled = index < 0 || index >= selection.length - 1;
  byId("stage-picture").dataset.revealed = "false";
  setText(byId("stage-words"), "");
  drawBlur();
  byId("full").hidden = !report.data.view;
  byId("full").disabled = false;
  showThumb(byId("stage-picture"), row);
  byId("image-facts").replaceChildren(...facts());
  byId("image").querySelector(".inspector").scrollTop = 0;
}

function facts() {
  return [
    element(
      "p",
      { className: "verdict", dataset: badge(row.verdict).dataset },
      badge(row.verdict),
      element("span", { className: "score", textContent: row.score == null ? "" : `Score ${scoreWords(row.score)}` }),
    ),
    row.score == null ? null : meter(row.score, row.verdict),
    row.error_code
      ? element(
          "div",
          { className: "failed" },
          element("p", { className: "mono", textContent: plain(row.error_code) }),
          element("p", { textContent: plainLines(row.error_message) }),
        )
      : null,
    row.remark ? element("p", { className: "caution", textContent: plainLines(row.remark) }) : null,
    ...(row.verdict ? cautions() : []),
    row.verdict ? strip(row) : null,
    row.explanation
      ? element(
          "div",
          {},
          element("h3", { textContent: "What the model says it saw" }),
          element("p", { className: "explanation", textContent: plainLines(row.explanation) }),
        )
      : null,
    row.verdict && !row.explanation
      ? element("p", { className: "fine", textContent: "No explanation was asked for." })
      : null,
    origin(),
    given(),
    samePicture(),
    details(),
  ].filter(Boolean);
}

/** What the file says of its own origin, which is no part of the verdict. */
function origin() {
  if (!row.origin_words) return null;
  const list = element("dl");
  const add = (label, words) => words && list.append(element("dt", { textContent: label }), element("dd", {}, words));
  add("Generator", row.provenance_generator && element("bdi", { textContent: plain(row.provenance_generator) }));
  add("Signer", row.provenance_signer && element("bdi", { textContent: plain(row.provenance_signer) }));
  const made = element(
    "div",
    { className: "origin" },
    element("h3", { textContent: "What the file says of its origin" }),
    element("p", { textContent: plain(row.origin_words) }),
    list,
  );
  if (row.provenance_detail)
    made.append(
      element(
        "details",
        {},
        element("summary", { textContent: "In its own words" }),
        element("pre", { textContent: readable(row.provenance_detail), tabIndex: 0 }),
      ),
    );
  return made;
}

/** JSON with a line for each value; it is the file's own text, and may be anything. */
function readable(text) {
  try {
    return plainLines(JSON.stringify(JSON.parse(text), null, 1));
  } catch {
    return plainLines(text);
  }
}

/** What reviewers said. */
function given() {
  const found = [...(labels.byImage?.get(row.sha256)?.values() ?? [])];
  const agreed = labels.agreed?.[row.sha256];
  if (!found.length && !agreed) return null;
  const list = element("ul", { className: "plain" });
  if (agreed)
    list.append(element("li", { textContent: `${agreed.label}${agreed.disputed ? ", but reviewers disagree" : ""}` }));
  for (const { label, reviewer, note } of found)
    list.append(element("li", { textContent: `${plain(reviewer)}: ${label}${note ? ` (${plain(note)})` : ""}` }));
  return element("div", {}, element("h3", { textContent: "Reviewed" }), list);
}

/** Other images of the same picture. */
function samePicture() {
  if (!(row.images > 1)) return null;
  const mine = row;
  const words = element("p", { className: "fine", textContent: "Looking for them…" });
  const list = element("ul", { className: "same" });
  const all = element("a", {
    href: imagesHash({ picture: { position: row.position, rowId: row.row_id } }),
    textContent: `All ${number(row.images)} images of this picture`,
  });
  drawSame(mine, list, words).catch((error) => setText(words, `${plain(error.message)}.`));
  return element(
    "div",
    {},
    element("h3", { textContent: `One of ${number(row.images)} images of this picture` }),
    words,
    list,
    element("p", {}, all),
  );
}

async function drawSame(mine, list, words) {
  const positions = await imagesOfPicture(mine.position);
  const others = positions.filter((position) => position !== mine.position).slice(0, MOST_SAME);
  const rows = await cardRows(others);
  if (mine !== row) return;
  const more = positions.length - 1 - others.length;
  setText(words, more ? `${number(others.length)} of the others, the highest score first:` : "The others:");
  for (const position of others) {
    const other = rows.get(position);
    const frame = element("span", { className: "frame" });
    const link = element(
      "a",
      {
        href: hashOf({ ...state(), image: { position, rowId: other.row_id } }),
        title: plain(other.uri),
        aria: { label: `${plain(nameOf(other.uri).name)}: ${badge(other.verdict).textContent}, score ${scoreWords(other.score)}` },
      },
      frame,
      badge(other.verdict),
    );
    list.append(element("li", {}, link));
    showThumb(frame, other);
  }
}

const MOST_SAME = 8;
const ROWS = [
  ["uri", "Address"],
  ["width", "Size"],
  ["format", "Format"],
  ["num_bytes", "File"],
  ["logit", "Logit"],
  ["off_script", "Off script"],
  ["row_id", "Row"],
  ["sha256", "SHA-256"],
  ["etag", "ETag"],
  ["version", "Version"],
  ["last_modified", "Modified"],
  ["scanned_at", "Scanned"],
  ["picture", "Picture"],
  ["phash", "Looks (hash)"],
];
const OWN = new Set([
  ...ROWS.map(([name]) => name),
  ...STRIP_COLUMNS,
  "position",
  "provenance",
  "height",
  "verdict",
  "score",
  "explanation",
  "remark",
  "error_code",
  "error_message",
  "folder",
  "words",
  "flags",
  "thumb",
  "origin",
  "origin_words",
  "provenance_basis",
  "provenance_generator",
  "provenance_signer",
  "provenance_detail",
  "images",
]);

function details() {
  const list = element("dl");
  const add = (label, words, copied) =>
    list.append(
      element("dt", { textContent: label }),
      element(
        "dd",
        {},
        element("bdi", { textContent: words }),
        copied ? copyButton("Copy", copied, `Copy ${label}`) : null,
      ),
    );
  for (const [name, label] of ROWS) {
    const value = row[name];
    if (value == null) continue;
    if (name === "width") add(label, `${row.width} × ${row.height} pixels`);
    else if (name === "num_bytes") add(label, bytes(value));
    else if (name === "logit") add(label, value.toFixed(3));
    else if (name === "off_script") add(label, value.toPrecision(2));
    else
      add(
        label,
        plain(value instanceof Date ? value.toISOString() : value),
        ["uri", "sha256"].includes(name) ? String(value) : null,
      );
  }
  const named = (mask, known) =>
    known
      .filter(({ bit }) => (mask >> bit) & 1)
      .map(({ label }) => plain(label))
      .join(", ");
  if (row.words) add("Speaks of", named(row.words, report.data.words));
  if (row.flags) add("Also", named(row.flags, report.data.flags));
  if (row.provenance && !row.origin_words) add("Origin", originLabel(row.provenance));
  // Whatever else the rows hold: the user's own columns, and columns of later versions.
  for (const [name, value] of Object.entries(row)) {
    if (!OWN.has(name) && value != null)
      add(
        plain(name.replace(/^kept:/, "")),
        plain(value instanceof Date ? value.toISOString() : typeof value === "object" ? JSON.stringify(value) : value),
      );
  }
  const folder = nameOf(row.uri).folder;
  const more = element(
    "p",
    { className: "row" },
    copyButton("Copy link", () => location.href),
    copyButton(
      "Copy SQL",
      `SELECT * FROM read_parquet('${report.data.data}rows-*.parquet') WHERE row_id = ${row.row_id};`,
    ),
  );
  if (folder && row.error_code)
    more.append(element("a", { href: imagesHash({ error: row.error_code }), textContent: "All with this error" }));
  return element("div", {}, element("h3", { textContent: "Details" }), list, more);
}

// ---- The picture ----------------------------------------------------------------------------------------------------

function drawBlur() {
  const shown = !isBlurred() || byId("stage-picture").dataset.revealed === "true";
  byId("reveal").hidden = !isBlurred();
  byId("reveal").textContent = shown ? "Blur this image" : "Show this image";
}

function toggleReveal() {
  const stage = byId("stage-picture");
  stage.dataset.revealed = String(stage.dataset.revealed !== "true");
  drawBlur();
}

/** Fetch the image itself, with the rights of whoever started `fakescan view`. */
export async function fullImage(rowId) {
  const answer = await fetch(`${report.data.view.api}image/${rowId}`).catch(() => null);
  if (!answer) throw new Error("fakescan view does not answer: is it still running?");
  if (!answer.ok) {
    const problem = await answer.json().catch(() => null);
    throw new Error(problem?.error?.message ?? `HTTP ${answer.status}`);
  }
  return URL.createObjectURL(await answer.blob());
}

async function showFull() {
  const mine = row;
  byId("full").disabled = true;
  setText(byId("stage-words"), "Fetching…");
  try {
    const url = await fullImage(mine.row_id);
    if (mine !== row) return URL.revokeObjectURL(url);
    const image = element("img", { alt: "", draggable: false, className: "whole" });
    image.addEventListener("load", () => {
      URL.revokeObjectURL(url);
      setText(byId("stage-words"), `${image.naturalWidth} × ${image.naturalHeight} pixels`);
    });
    image.src = url;
    byId("stage-picture").replaceChildren(image);
  } catch (error) {
    if (mine === row) setText(byId("stage-words"), plain(error.message));
    byId("full").disabled = false;
  }
}

/** The next image of the filter, or the one before; Back leads to the wall, not through all of them. */
export async function step(by) {
  const next = index + by;
  if (index < 0 || next < 0 || next >= selection.length) return;
  const position = selection.at(next);
  const { row_id: rowId } = await wholeRow(position);
  go({ image: { position, rowId } }, { replace: true });
}

function closed() {
  const at = index;
  row = null;
  if (state().image) go({ image: null });
  if (at >= 0 && state().view === "images") focusImage(at);
}

export function listenForImage() {
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close-image").addEventListener("click", () => byId("image").close());
  byId("image").addEventListener("close", closed);
  byId("reveal").addEventListener("click", toggleReveal);
  byId("full").addEventListener("click", showFull);
  onBlur(drawBlur);
}
