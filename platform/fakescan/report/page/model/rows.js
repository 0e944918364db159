// Rows for cards and for one image. What a card shows is kept for the images seen last.

import { report } from "./report.js";

const CARD_COLUMNS = ["row_id", "uri", "verdict", "score", "thumb", "error_code", "images"];
export const CSV_COLUMNS = [
  ...["row_id", "uri", "sha256", "verdict", "score", "error_code"],
  ...["provenance", "provenance_basis"],
];
const GAP_ROWS = 256; // Within a page of the file, or about.
const KEPT_ROWS = 4000;

const kept = new Map();

/** The cards' rows at some positions: a map by position. */
export async function cardRows(positions) {
  const missing = positions.filter((position) => !kept.has(position)).sort((a, b) => a - b);
  await Promise.all(report.rows.clusters(missing, GAP_ROWS).map((range) => readCards(...range)));
  const found = new Map(positions.map((position) => [position, kept.get(position)]));
  for (const [position, row] of found) {
    kept.delete(position);
    kept.set(position, row);
  }
  for (const position of kept.keys()) {
    if (kept.size <= KEPT_ROWS) break;
    kept.delete(position);
  }
  return found;
}

async function readCards(start, end) {
  const columns = await report.rows.read(CARD_COLUMNS, start, end);
  for (let place = 0; place < end - start; place++) kept.set(start + place, rowAt(columns, place, start + place));
}

export const knownCard = (position) => kept.get(position);

/** Everything known about one image. */
export async function wholeRow(position) {
  return rowAt(await report.rows.read(null, position, position + 1), 0, position);
}

/** Columns of many rows for a table: calls `take(columns, places)` for each row group that holds some of `positions`. */
export async function readForCsv(positions, take) {
  for (const [start, end] of report.rows.clusters(positions, GAP_ROWS))
    await take(await report.rows.read(CSV_COLUMNS, start, end), start);
}

function rowAt(columns, place, position) {
  const row = { position };
  for (const [name, values] of Object.entries(columns)) row[name] = plainValue(values[place]);
  return row;
}

export function plainValue(value) {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint8Array) return hex(value);
  return value ?? null;
}

export const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Folder and name of an address: what stands before and after its last slash, and a tar's member as a name. */
export function nameOf(uri) {
  const text = String(uri ?? "");
  const cut = text.replace(/[/]+$/, "").lastIndexOf("/");
  return { folder: text.slice(0, cut + 1), name: text.slice(cut + 1) };
}
