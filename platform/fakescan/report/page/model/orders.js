// All images in an order that is not that of their scores, as positions: made once, and every filter takes its own.

import { facet } from "./facets.js";

const DIGIT_BITS = 11;
const DIGITS = 2 ** DIGIT_BITS;

const COLUMNS = { spread: "spread", size: "kilobytes", run: "row_id" };

const orders = new Map();

/** Positions of all images sorted by "copies", "spread", "size" or "run"; equal ones by their scores. */
export function orderBy(sort) {
  if (!orders.has(sort)) {
    const making = keysOf(sort).then(positionsByKey);
    orders.set(sort, making);
    making.catch(() => orders.delete(sort)); // The next one tries again.
  }
  return orders.get(sort);
}

/** Some of the positions, ascending, in an order of all. */
export function inOrder(positions, order) {
  if (positions.length === order.length) return order;
  const wanted = new Uint8Array(order.length);
  for (let index = 0; index < positions.length; index++) wanted[positions[index]] = 1;
  const sorted = new Uint32Array(positions.length);
  for (let place = 0, count = 0; count < sorted.length; place++)
    if (wanted[order[place]]) sorted[count++] = order[place];
  return sorted;
}

/** For each position what it is sorted by, as a whole number below 2^32, the least first. */
async function keysOf(sort) {
  if (sort === "copies") return picturesBySize(await facet("lead"));
  const values = await facet(COLUMNS[sort]);
  const [least, most] = ends(values);
  const keys = new Uint32Array(values.length);
  for (let position = 0; position < keys.length; position++)
    keys[position] = sort === "run" ? values[position] - least : most - values[position];
  return keys;
}

/** For each position the place of its picture among all pictures, those with most images first. */
function picturesBySize(leads) {
  const sizes = new Uint32Array(leads.length);
  let most = 0;
  for (let position = 0; position < leads.length; position++) most = Math.max(most, ++sizes[leads[position]]);
  const next = new Uint32Array(most + 1); // By size: how many pictures there are, and then the place of the next one.
  for (let lead = 0; lead < leads.length; lead++) next[sizes[lead]]++;
  for (let size = most, place = 0; size > 0; size--) [next[size], place] = [place, place + next[size]];
  const places = sizes;
  for (let lead = 0; lead < leads.length; lead++) if (sizes[lead]) places[lead] = next[sizes[lead]]++;
  const keys = new Uint32Array(leads.length);
  for (let position = 0; position < leads.length; position++) keys[position] = places[leads[position]];
  return keys;
}

function ends(values) {
  let [least, most] = [Infinity, 0];
  for (let position = 0; position < values.length; position++) {
    if (values[position] < least) least = values[position];
    if (values[position] > most) most = values[position];
  }
  return [least, most];
}

/** Positions by their keys, those of equal keys ascending. By digits: a sort that compares takes ten times as long. */
function positionsByKey(keys) {
  const most = ends(keys)[1];
  let order = new Uint32Array(keys.length);
  for (let position = 0; position < order.length; position++) order[position] = position;
  let before = new Uint32Array(keys.length);
  for (let shift = 0; shift < 32 && most >>> shift; shift += DIGIT_BITS) {
    [order, before] = [before, order];
    const next = new Uint32Array(DIGITS); // Where the next position of each digit goes.
    for (let position = 0; position < keys.length; position++) next[(keys[position] >>> shift) & (DIGITS - 1)]++;
    for (let digit = 0, place = 0; digit < DIGITS; digit++) [next[digit], place] = [place, place + next[digit]];
    for (let index = 0; index < before.length; index++)
      order[next[(keys[before[index]] >>> shift) & (DIGITS - 1)]++] = before[index];
  }
  return order;
}
