// Columns of one small number for each image, as typed arrays, fetched when a filter first needs them; and the images
// that a filter chooses, as positions in the order of the scores.

import { report } from "./report.js";
import { folderByPath } from "./folders.js";
import { originMask } from "./origins.js";

const ARRAYS = {
  verdict: Uint8Array,
  error: Uint8Array,
  folder: Int32Array,
  words: Int32Array,
  flags: Int32Array,
  row_id: Float64Array,
  kilobytes: Int32Array,
  origin: Uint8Array,
  lead: Int32Array,
};
const VERDICTS = { real: 0, fake: 1, uncertain: 2, error: 3 };
const AT_ONCE = 4;
const MOST_KILOBYTES = 2 ** 22; // 4 GiB: larger files are all the same to the sort.

const columns = new Map();
let pictureRanks = null;

/** A column for all images. */
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
  const whole = new ARRAYS[name](report.facets.count);
  const groups = [...report.facets.groups()];
  const next = async () => {
    for (let group = groups.shift(); group; group = groups.shift()) {
      const { [name]: found } = await report.facets.read([name], ...group);
      if (typeof found[0] === "bigint")
        for (let place = 0; place < found.length; place++) whole[group[0] + place] = Number(found[place]);
      else whole.set(found, group[0]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  return whole;
}

/** Images in an order: `length` of them, and the position of each. */
class Selection {
  constructor(length, at, indexOf) {
    this.length = length;
    this.at = at;
    this.indexOf = indexOf;
  }
}

const range = (start, end, reversed) =>
  new Selection(
    Math.max(0, end - start),
    (index) => (reversed ? end - 1 - index : start + index),
    (position) => (position < start || position >= end ? -1 : reversed ? end - 1 - position : position - start),
  );

const listed = (positions) =>
  new Selection(
    positions.length,
    (index) => positions[index],
    (position) => positions.indexOf(position),
  );

/** Positions between which all images of a filter lie, by the order of the table alone. */
function bounds({ score: [low, high], error, verdict }) {
  const { scores, errors, rows } = report.data;
  if (error) {
    const found = errors.find(({ code }) => code === error);
    return found ? [found.position, found.position + found.rows] : [0, 0];
  }
  let [start, end] = [high === 100 ? 0 : scores.at_least[high], low === 0 ? rows.count : scores.at_least[low]];
  if (high < 100) end = Math.min(end, scores.scored);
  if (verdict.length && !verdict.includes("error")) end = Math.min(end, scores.scored);
  if (verdict.length === 1 && verdict[0] === "error") start = Math.max(start, scores.scored);
  return [start, end];
}

const maskOf = (chosen, known) =>
  chosen.reduce((mask, name) => mask | (1 << (known.find((one) => one.name === name)?.bit ?? 31)), 0);

/** The images that a state of the page chooses, in its order. */
export async function select(state) {
  const [start, end] = bounds(state);
  const { words, flags, folder, origin, one, picture } = state;
  const judged = state.verdict.filter((name) => name !== "error");
  const byVerdict = state.verdict.length && judged.length && judged.length < 3;
  const [verdicts, folders, wordMasks, flagMasks, origins, leads, branch, shownPicture] = await Promise.all([
    byVerdict ? facet("verdict") : null,
    folder != null ? facet("folder") : null,
    words.length ? facet("words") : null,
    flags.length ? facet("flags") : null,
    origin.length ? facet("origin") : null,
    one || picture ? facet("lead") : null,
    folder != null ? folderByPath(folder) : null,
    picture ? currentPosition(picture) : null,
  ]);
  if (folder != null && !branch) return range(0, 0, false);
  if (picture && shownPicture < 0) return range(0, 0, false);
  const isAll = !verdicts && !folders && !wordMasks && !flagMasks && !origins && !leads;
  if (isAll && (state.sort === "high" || state.sort === "low")) return ordered(start, end, state.sort);
  const chosen = new Uint32Array(Math.max(0, end - start));
  const wantedVerdicts = state.verdict.reduce((mask, name) => mask | (1 << VERDICTS[name]), 0);
  const [wantedWords, wantedFlags] = [maskOf(words, report.data.words), maskOf(flags, report.data.flags)];
  const wantedOrigins = originMask(origin);
  const wantedLead = picture ? leads[shownPicture] : -1;
  const shown = one ? new Uint8Array(leads.length) : null; // Pictures of which there is an image already.
  let count = 0;
  for (let position = start; position < end; position++) {
    if (verdicts && !((wantedVerdicts >> verdicts[position]) & 1)) continue;
    if (folders && (folders[position] < branch.id || folders[position] > branch.last)) continue;
    if (wordMasks && (wordMasks[position] & wantedWords) !== wantedWords) continue;
    if (flagMasks && (flagMasks[position] & wantedFlags) !== wantedFlags) continue;
    if (origins && !((wantedOrigins >> origins[position]) & 1)) continue;
    if (picture && leads[position] !== wantedLead) continue;
    if (one && shown[leads[position]]) continue;
    if (one) shown[leads[position]] = 1;
    chosen[count++] = position;
  }
  return listed(await sorted(chosen.slice(0, count), state.sort));
}

/** Errors have no score: they come last either way. */
function ordered(start, end, sort) {
  if (sort === "high") return range(start, end, false);
  const scored = Math.min(end, report.data.scores.scored);
  if (scored >= end) return range(start, end, true);
  const turned = range(start, Math.max(start, scored), true);
  const from = Math.max(start, scored);
  return new Selection(
    end - start,
    (index) => (index < turned.length ? turned.at(index) : from + index - turned.length),
    (position) => (position >= from && position < end ? turned.length + position - from : turned.indexOf(position)),
  );
}

async function sorted(positions, sort) {
  if (sort === "high") return positions;
  if (sort === "low") {
    const { scored } = report.data.scores;
    let judged = positions.length;
    while (judged && positions[judged - 1] >= scored) judged--;
    positions.subarray(0, judged).reverse();
    return positions;
  }
  const step = report.data.rows.count;
  const rank = await rankOf(sort);
  // One number holds what is sorted by and the position, so that the sort needs no function: 53 bits are enough for both.
  const keys = Float64Array.from(positions, (position) => rank(position) * step + position);
  keys.sort();
  return Uint32Array.from(keys, (key) => key % step);
}

/** What is sorted by, as a whole number of each position, the least first. */
async function rankOf(sort) {
  if (sort === "copies") {
    const leads = await facet("lead");
    const ranks = (pictureRanks ??= ranksOf(leads));
    return (position) => ranks[leads[position]];
  }
  const values = await facet(sort === "size" ? "kilobytes" : "row_id");
  if (sort === "run") return (position) => values[position];
  return (position) => MOST_KILOBYTES - Math.min(values[position], MOST_KILOBYTES);
}

/** For the first position of each picture its place among all pictures, those with most images first. */
function ranksOf(leads) {
  const sizes = new Int32Array(leads.length);
  let most = 0;
  for (let position = 0; position < leads.length; position++) most = Math.max(most, ++sizes[leads[position]]);
  const next = new Int32Array(most + 1); // By size: how many pictures there are, and then the place of the next one.
  for (let lead = 0; lead < leads.length; lead++) next[sizes[lead]]++;
  for (let size = most, place = 0; size > 0; size--) [next[size], place] = [place, place + next[size]];
  const ranks = new Int32Array(leads.length);
  for (let lead = 0; lead < leads.length; lead++) if (sizes[lead]) ranks[lead] = next[sizes[lead]]++;
  return ranks;
}

/** Positions of all images of the picture that one image is of, the highest score first. */
export async function imagesOfPicture(position) {
  const leads = await facet("lead");
  const found = [];
  for (let other = leads[position]; other < leads.length; other++)
    if (leads[other] === leads[position]) found.push(other);
  return found;
}

/** Where a row of an address is in this report: its position there may be of an older one. -1: it is in none. */
async function currentPosition({ position, rowId }) {
  if (position < report.data.rows.count) {
    const { row_id: found } = await report.rows.read(["row_id"], position, position + 1);
    if (Number(found[0]) === rowId) return position;
  }
  return positionOf(rowId);
}

/** The position of a row of the run, where a link's hint is of an older report. */
export async function positionOf(rowId) {
  return (await facet("row_id")).indexOf(rowId);
}
