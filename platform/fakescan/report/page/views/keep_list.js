// From what is shown to a list: the command that writes it, the same as SQL, or a CSV of it here.

import { isFiltered, onState, state } from "../address.js";
import { announce, byId, button, copyButton, counted, element, number, plain, saveFile, setText } from "../dom.js";
import { csvOf } from "../model/csv.js";
import { folderByPath, shortPath } from "../model/folders.js";
import { originLabel } from "../model/origins.js";
import { report, verdictName } from "../model/report.js";
import { CSV_COLUMNS, hex, plainValue, readForCsv } from "../model/rows.js";
import { shellWord } from "../model/shell.js";
import { chosenImages } from "./gallery.js";

const JUDGED = ["real", "fake", "uncertain"];
const MOST_CSV_ROWS = 500_000;
const choice = { which: "rest", uncertain: false, errors: false };
let stop = false;
let listening = false;

/** The largest number of single precision below a hundredth, in the fewest digits that mean it: scores are stored so. */
export function below(hundredths) {
  const value = new Float32Array([hundredths / 100]);
  const bits = new Uint32Array(value.buffer);
  bits[0] -= 1;
  for (let digits = 1; digits < 10; digits++)
    if (Math.fround(Number(value[0].toPrecision(digits))) === value[0]) return value[0].toPrecision(digits);
  return String(value[0]);
}

/** `fakescan filter` for a state; null where it has no words for it. */
export function commandOf(filter, { which, uncertain, errors }) {
  const judged = filter.verdict.length ? filter.verdict.filter((name) => name !== "error") : JUDGED;
  if (filter.error || !judged.length || filter.origin.includes("unread")) return null;
  const only = which === "shown";
  const ends = [];
  if (filter.score[0] > 0) ends.push("--min-score", String(filter.score[0] / 100));
  if (filter.score[1] < 100) ends.push("--max-score", below(filter.score[1]));
  const showsErrors = !ends.length && (!filter.verdict.length || filter.verdict.includes("error"));
  const words = [
    "fakescan",
    "filter",
    shellWord(report.data.run.url),
    only ? "--keep" : "--drop",
    judged.join(","),
    ...ends,
    ...(filter.origin.length ? ["--provenance", filter.origin.join(",")] : []),
  ];
  if (!only && uncertain && !judged.includes("uncertain")) words.push("--uncertain", "keep");
  if (only ? showsErrors : errors) words.push("--errors", "keep");
  return [...words, "-o", only ? "shown.csv" : "keep.parquet"].join(" ");
}

/** A query for DuckDB over the report's rows that chooses exactly what a state shows. */
export async function sqlOf(filter, { which, uncertain, errors }) {
  const text = (value) => `'${String(value).replaceAll("'", "''")}'`;
  const found = [];
  if (filter.verdict.length) found.push(`coalesce(verdict, 'error') IN (${filter.verdict.map(text).join(", ")})`);
  if (filter.score[0] > 0) found.push(`score >= ${filter.score[0] / 100}`);
  if (filter.score[1] < 100) found.push(`score < ${filter.score[1] / 100}`);
  if (filter.folder != null) {
    const folder = await folderByPath(filter.folder);
    found.push(`folder BETWEEN ${folder?.id ?? -1} AND ${folder?.last ?? -1}`);
  }
  if (filter.error) found.push(`error_code = ${text(filter.error)}`);
  for (const kind of ["words", "flags"]) {
    const mask = filter[kind].reduce(
      (bits, name) => bits | (1 << report.data[kind].find((one) => one.name === name)?.bit),
      0,
    );
    if (mask) found.push(`${kind} & ${mask} = ${mask}`);
  }
  if (filter.origin.length) found.push(`coalesce(provenance, 'unread') IN (${filter.origin.map(text).join(", ")})`);
  const rows = `read_parquet('${report.data.data}rows-*.parquet')`;
  if (filter.picture)
    found.push(`picture = (SELECT picture FROM ${rows} WHERE row_id = ${filter.picture.rowId})`);
  if (filter.one)
    found.push(
      `row_id IN (SELECT first(row_id ORDER BY score DESC NULLS LAST, row_id) FROM ${rows}\n    WHERE ${found.join(" AND ") || "true"} GROUP BY coalesce(picture, -1 - row_id))`,
    );
  const shown = found.join(" AND ") || "true";
  const named = (name) => filter.verdict.includes(name);
  const rest = [`NOT coalesce(${shown}, false)`];
  if (!uncertain && !named("uncertain")) rest.push("verdict IS DISTINCT FROM 'uncertain'");
  if (!errors && !named("error")) rest.push("verdict IS NOT NULL");
  const where = which === "shown" ? shown : rest.join(" AND ");
  return `COPY (SELECT row_id, uri, lower(hex(sha256)) AS sha256, verdict, score\n  FROM ${rows}\n  WHERE ${where}\n  ORDER BY row_id) TO '${which === "shown" ? "shown" : "keep"}.csv';`;
}

export async function openKeepList() {
  const dialog = byId("keep");
  if (!listening) listen();
  listening = true;
  if (!dialog.open) dialog.showModal();
  await draw();
}

function radio(value, words) {
  const made = element("input", { type: "radio", name: "which", value, checked: choice.which === value });
  made.addEventListener("change", () => ((choice.which = value), draw({ focus: `[value=${value}]` })));
  return element("label", { className: "check" }, made, element("span", { textContent: words }));
}

function box(name, words) {
  const made = element("input", { type: "checkbox", name, checked: choice[name] });
  made.addEventListener("change", () => ((choice[name] = made.checked), draw({ focus: `[name=${name}]` })));
  return element("label", { className: "check" }, made, element("span", { textContent: words }));
}

/** What the export is of: the filter of the images; from elsewhere, what was flagged. */
function exported() {
  const now = state();
  return now.view === "images"
    ? now
    : {
        ...now,
        verdict: ["fake"],
        score: [0, 100],
        folder: null,
        error: null,
        words: [],
        flags: [],
        origin: [],
        one: false,
        picture: null,
        sort: "high",
      };
}

async function draw({ focus } = {}) {
  const filter = exported();
  const selection = state().view === "images" ? await chosenImages(filter) : null;
  const count = selection?.length ?? report.data.totals.fake;
  const command = commandOf(filter, choice);
  const beyond = [
    filter.folder != null && "the folder",
    filter.words.length && "words of the explanation",
    filter.flags.length && "“also”",
    (filter.one || filter.picture) && "near-duplicates",
  ].filter(Boolean);
  const sql = await sqlOf(filter, choice);
  const body = [
    element("p", { textContent: `${counted(count, "image")}: ${describe(filter)}.` }),
    element(
      "fieldset",
      { className: "choice" },
      element("legend", { textContent: "List" }),
      radio("rest", "All images but these (a keep-list)"),
      radio("shown", "These images only"),
    ),
  ];
  if (choice.which === "rest") {
    const others = element(
      "fieldset",
      { className: "choice" },
      element("legend", { textContent: "On the list as well" }),
    );
    if (!filter.verdict.includes("uncertain") && filter.verdict.length)
      others.append(box("uncertain", "uncertain images"));
    others.append(box("errors", "images without a verdict"));
    body.push(others);
  }
  body.push(element("h3", { textContent: "Command" }));
  if (command && !beyond.length)
    body.push(
      ...block(command, "Copy command"),
      element("p", {
        className: "fine",
        textContent:
          "The ending chooses Parquet, CSV or text; the command can also write the names that img2dataset and WebDataset use.",
      }),
    );
  else if (command)
    body.push(
      element("p", {
        textContent: `fakescan filter chooses by verdict, score and origin, and cannot choose by ${beyond.join(" and ")}. This query does, in the folder of the report:`,
      }),
      ...block(sql, "Copy query"),
    );
  else
    body.push(
      element("p", {
        textContent:
          "fakescan filter chooses by verdict, score and origin. For images without a verdict, or whose origin was not read, this query does it, in the folder of the report:",
      }),
      ...block(sql, "Copy query"),
    );
  if (command && !beyond.length)
    body.push(
      element("details", {}, element("summary", { textContent: "As a query for DuckDB" }), ...block(sql, "Copy query")),
    );
  if (selection) body.push(element("h3", { textContent: "Download" }), ...download(filter, selection));
  byId("keep-body").replaceChildren(...body);
  if (focus) byId("keep-body").querySelector(focus)?.focus();
}

const block = (text, label) => [
  element(
    "div",
    { className: "command-block" },
    element("pre", { tabIndex: 0, textContent: text, aria: { label: label.replace("Copy ", "") }, role: "region" }),
    copyButton("Copy", text, label),
  ),
];

function describe(filter) {
  if (!isFiltered(filter)) return "all";
  const parts = [];
  if (filter.verdict.length)
    parts.push(filter.verdict.map((name) => verdictName(name, { capital: false })).join(" or "));
  if (filter.score[0] > 0 || filter.score[1] < 100)
    parts.push(`score ${filter.score[0] / 100} to ${filter.score[1] < 100 ? "under " : ""}${filter.score[1] / 100}`);
  if (filter.folder != null) parts.push(`in ${plain(shortPath(filter.folder))}`);
  if (filter.error) parts.push(plain(filter.error));
  if (filter.one) parts.push("one image of each picture");
  if (filter.picture) parts.push(`of the picture of row ${number(filter.picture.rowId)}`);
  for (const kind of ["words", "flags"])
    parts.push(...filter[kind].map((name) => plain(report.data[kind].find((one) => one.name === name)?.label ?? name)));
  if (filter.origin.length) parts.push(`the file says: ${filter.origin.map(originLabel).map(plain).join(" or ")}`);
  return parts.join(", ");
}

function download(filter, selection) {
  const words = element("p", { className: "fine", role: "status" });
  const most = Math.min(selection.length, MOST_CSV_ROWS);
  const start = button(
    `CSV of ${selection.length > most ? "the first " : "these "}${counted(most, "image")}`,
    async () => {
      stop = false;
      start.disabled = true;
      cancel.hidden = false;
      try {
        const blob = await csv(selection, most, (done) => setText(words, `${number(done)} of ${number(most)}…`));
        if (blob) saveFile("images.csv", blob);
        setText(words, blob ? `Saved ${counted(most, "image")}.` : "Stopped.");
        announce(words.textContent);
      } catch (error) {
        setText(words, `${error.message}.`);
      }
      start.disabled = false;
      cancel.hidden = true;
    },
    { disabled: !selection.length },
  );
  const cancel = button("Stop", () => (stop = true), { className: "quiet", hidden: true });
  return [element("div", { className: "row" }, start, cancel), words];
}

/** The images as CSV, in the order of their scores; null when it was stopped. */
async function csv(selection, most, onDone) {
  const positions = Uint32Array.from({ length: most }, (_, index) => selection.at(index)).sort();
  const parts = [csvOf([CSV_COLUMNS])];
  let at = 0;
  for (let from = 0; from < most && !stop; from += 8192) {
    await readForCsv(positions.subarray(from, Math.min(from + 8192, most)), (columns, start) => {
      const lines = [];
      for (; at < most && positions[at] - start < columns.uri.length; at++) {
        const place = positions[at] - start;
        const value = (name) => plainValue(columns[name][place]);
        const score = columns.score[place];
        lines.push([
          value("row_id"),
          value("uri"),
          columns.sha256[place] ? hex(columns.sha256[place]) : null,
          value("verdict"),
          score == null ? null : Number(score.toPrecision(8)),
          value("error_code"),
          value("provenance"),
          value("provenance_basis"),
        ]);
      }
      parts.push(csvOf(lines));
    });
    onDone(at);
  }
  return stop ? null : new Blob(parts, { type: "text/csv" });
}

function listen() {
  byId("close-keep").addEventListener("click", () => byId("keep").close());
  byId("keep").addEventListener("close", () => (stop = true));
  onState(() => byId("keep").close()); // It is of what was shown before.
}
