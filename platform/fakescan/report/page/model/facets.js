// Columns of one small number for each image, as typed arrays, fetched when a filter first needs them.

import { report } from "./report.js";

const AT_ONCE = 4;

const columns = new Map();

/** A column for all images. `lead` is the position of the first image of the same picture. */
export function facet(name) {
  if (!columns.has(name)) {
    const loading = load(name);
    columns.set(name, loading);
    loading.catch(() => columns.delete(name)); // The next one tries again.
  }
  return columns.get(name);
}

/** Fetch columns that are likely to be needed next: the reader is about to filter. */
export function prefetch(...names) {
  for (const name of names) facet(name).catch(() => {}); // Whoever needs it will say so.
}

async function load(name) {
  const column = name === "lead" ? "back" : name;
  const whole = arrayFor(name, report.facets.count);
  const groups = [...report.facets.groups()];
  const next = async () => {
    for (let group = groups.shift(); group; group = groups.shift()) {
      const { [column]: found } = await report.facets.read([column], ...group);
      if (found instanceof BigInt64Array) setHalves(whole, found, group[0]);
      else whole.set(found, group[0]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  if (name === "lead") for (let position = 0; position < whole.length; position++) whole[position] = position - whole[position];
  return whole;
}

/** An array that the numbers of a column fit in, as small as it may be: ten million images have ten columns. */
function arrayFor(name, length) {
  const { words, flags, folders } = report.data;
  const fits = (bits) => new (bits <= 8 ? Uint8Array : bits <= 16 ? Uint16Array : Int32Array)(length);
  const bits = (known) => Math.max(0, ...known.map(({ bit }) => bit + 1));
  if (name === "verdict" || name === "error" || name === "origin") return fits(8);
  if (name === "words") return fits(bits(words));
  if (name === "flags") return fits(bits(flags));
  if (name === "folder") return fits(Math.ceil(Math.log2(folders.count)));
  if (name === "spread") return fits(16);
  return name === "row_id" ? new Float64Array(length) : new Int32Array(length);
}

/** 64-bit numbers from 0 to 2^53, by their halves: to convert one after the other takes ten times as long. */
function setHalves(whole, found, first) {
  const halves = new Uint32Array(found.buffer, found.byteOffset, 2 * found.length); // The low one comes first.
  for (let place = 0; place < found.length; place++)
    whole[first + place] = halves[2 * place] + halves[2 * place + 1] * 2 ** 32;
}
