// The images that a filter chooses, as positions in the order of the scores.

import { facet } from "./facets.js";
import { folderByPath } from "./folders.js";
import { originMask } from "./origins.js";
import { report } from "./report.js";

const VERDICTS = { real: 0, fake: 1, uncertain: 2, error: 3 };

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
  const { words, flags, folder, origin, one, picture, sort } = state;
  const judged = state.verdict.filter((name) => name !== "error");
  const byVerdict = state.verdict.length && judged.length && judged.length < 3;
  const isByScore = sort === "high" || sort === "low";
  const [verdicts, folders, wordMasks, flagMasks, origins, leads, branch, shownPicture, inOrder] = await Promise.all([
    byVerdict ? facet("verdict") : null,
    folder != null ? facet("folder") : null,
    words.length ? facet("words") : null,
    flags.length ? facet("flags") : null,
    origin.length ? facet("origin") : null,
    one || picture ? facet("lead") : null,
    folder != null ? folderByPath(folder) : null,
    picture ? currentPosition(picture) : null,
    isByScore ? null : orderedBy(sort),
  ]);
  if (folder != null && !branch) return range(0, 0, false);
  if (picture && shownPicture < 0) return range(0, 0, false);
  const isAll = !verdicts && !folders && !wordMasks && !flagMasks && !origins && !leads;
  if (isAll && isByScore) return ordered(start, end, sort);
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
  const positions = chosen.slice(0, count);
  if (inOrder) return listed(inOrder(positions));
  return listed(sort === "low" ? lowestFirst(positions) : positions);
}

/** Puts positions, which ascend, in an order that is not that of the scores. */
async function orderedBy(sort) {
  const { inOrder, orderBy } = await import("./orders.js");
  const order = await orderBy(sort);
  return (positions) => inOrder(positions, order);
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

function lowestFirst(positions) {
  const { scored } = report.data.scores;
  let judged = positions.length;
  while (judged && positions[judged - 1] >= scored) judged--;
  positions.subarray(0, judged).reverse();
  return positions;
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
