// Thumbnails: JPEG bytes out of Parquet, as addresses of the browser. Those wanted at the same time are read together.

import { report } from "./report.js";

const GAP_THUMBS = 4;
const KEPT_THUMBS = 800; // At about 7 KiB each.

const kept = new Map(); // ordinal to a promise of { url, words }
let wanted = [];

/** { url } of a thumbnail, or { words } that say why there is none. */
export function thumb(ordinal) {
  if (!kept.has(ordinal)) {
    kept.set(
      ordinal,
      new Promise((resolve, reject) => {
        if (wanted.push({ ordinal, resolve, reject }) === 1) setTimeout(readWanted);
      }),
    );
    kept.get(ordinal).catch(() => kept.delete(ordinal));
    forgetOldest();
  }
  const found = kept.get(ordinal);
  kept.delete(ordinal);
  kept.set(ordinal, found);
  return found;
}

/** The same for an image that the report has no thumbnail of: `fakescan view` makes one. */
export function thumbOnDemand(rowId) {
  const name = `row ${rowId}`;
  if (!kept.has(name)) kept.set(name, made(rowId));
  kept.get(name).catch(() => kept.delete(name));
  forgetOldest();
  return kept.get(name);
}

async function made(rowId) {
  const answer = await fetch(`${report.data.view.api}thumb/${rowId}`).catch(() => null);
  if (answer?.ok) return { url: URL.createObjectURL(await answer.blob()) };
  if (!answer) throw new Error("fakescan view does not answer: is it still running?");
  const problem = await answer.json().catch(() => null);
  return { words: problem?.error?.message ?? `HTTP ${answer.status}` };
}

async function forgetOldest() {
  for (const [ordinal, found] of kept) {
    if (kept.size <= KEPT_THUMBS) break;
    kept.delete(ordinal);
    found.then(
      ({ url }) => url && URL.revokeObjectURL(url),
      () => {},
    );
  }
}

function readWanted() {
  const asked = wanted.sort((a, b) => a.ordinal - b.ordinal);
  wanted = [];
  for (const [start, end] of report.thumbs.clusters(
    asked.map(({ ordinal }) => ordinal),
    GAP_THUMBS,
  )) {
    const here = asked.filter(({ ordinal }) => ordinal >= start && ordinal < end);
    read(start, end).then(
      (found) => here.forEach(({ ordinal, resolve }) => resolve(found(ordinal - start))),
      (error) => here.forEach(({ reject }) => reject(error)),
    );
  }
}

async function read(start, end) {
  const {
    image,
    error_code: codes,
    error_message: messages,
  } = await report.thumbs.read(["image", "error_code", "error_message"], start, end);
  return (place) => {
    const data = image[place]?.bytes;
    if (data) return { url: URL.createObjectURL(new Blob([data], { type: "image/jpeg" })) };
    return { words: messages?.[place] ?? codes?.[place] ?? "There is no thumbnail." };
  };
}
