// The line: every judged image stands at its score, from 0 to 1; the threshold is a line that can be moved through them.

import { byId, element, setText, visible } from "./dom.js";
import { everythingChanged, isJudged, items, onPage, settings } from "./items.js";
import { keepSettings } from "./keep.js";
import { server } from "./server.js";
import { RATES, limitsOf, meaningOf, outcomeOf, percent, rateOf } from "./verdict.js";

const SIZES = [64, 54, 46, 38, 32, 27, 23, 20, 18, 16, 12, 8, 5, 3]; // Pixels of a tile: the largest with which all have room.
const WITH_PICTURE = 16; // A smaller tile is a spot of its outcome's colour.
const GAP = 2;
const NARROW = 500; // Pixels of a line whose panel has little room beyond its ends ...
const NARROW_TILE = 38; // ... for the half of a tile that stands at 0 or 1.

let openView = () => {};

export const onOpen = (listener) => (openView = listener);

function draw() {
  drawDials();
  drawPile();
}

function drawDials() {
  const { threshold, low, high } = limitsOf(null);
  const table = document.querySelector(".table");
  table.style.setProperty("--threshold", threshold);
  table.style.setProperty("--low", low ?? threshold);
  table.style.setProperty("--high", high ?? threshold);
  const words = shortest(threshold);
  setText(byId("flag"), `${settings.threshold == null ? "threshold" : "your threshold"} ${words}`);
  if (document.activeElement !== byId("threshold")) byId("threshold").value = threshold;
  byId("threshold").setAttribute("aria-valuetext", words);
  if (document.activeElement !== byId("exact")) byId("exact").value = words;
  const half = low == null ? 0 : (high - low) / 2;
  if (document.activeElement !== byId("band")) byId("band").value = half;
  setText(byId("band-words"), low == null ? "none" : `${low.toFixed(2)} to ${high.toFixed(2)}`);
  byId("reset").hidden = settings.threshold == null && settings.band == null;
  setText(byId("low-end"), `0 · ${meaningOf(null) === "full" ? "real" : meaningOf(null) === "none" ? "means nothing" : "no forgery found"}`);
  byId("dials").hidden = !items.length;
  byId("adjust").hidden = !items.length;
}

const shortest = (number) => (Number(number.toFixed(2)) === number ? number.toFixed(2) : String(Number(number.toPrecision(6))));

function drawRates() {
  const rates = [...new Set([...RATES, server.about?.base_rate ?? 0.01, rateOf()])].sort((a, b) => b - a);
  byId("rate").replaceChildren(...rates.map((rate) => element("option", percent(rate), { value: String(rate) })));
  byId("rate").value = String(rateOf());
  byId("rate").closest("label").hidden = server.about?.calibrated === false || meaningOf(null) === "none";
}

/** Stand the tiles on the line, each at its score. */
function drawPile() {
  const pile = byId("pile");
  const judged = items.filter(isJudged);
  const { clientWidth: width, clientHeight: height } = pile;
  const { size, places } = arranged(judged, width, height);
  const standing = new Set(judged);
  for (const tile of [...pile.children]) {
    if (!standing.has(tile.item)) tile.remove();
  }
  judged.forEach((item, number) => {
    item.tile ??= newTile(item);
    const { tile } = item;
    if (tile.parentElement !== pile) pile.append(tile);
    tile.dataset.outcome = outcomeOf(item);
    tile.dataset.decision = item.decision;
    tile.dataset.size = size >= WITH_PICTURE ? "picture" : "spot";
    if (size >= WITH_PICTURE && item.preview && tile.src !== item.preview) tile.src = item.preview;
    tile.style.width = tile.style.height = `${Math.max(1, size - GAP)}px`;
    tile.style.left = `${places[number].left}px`;
    tile.style.bottom = `${places[number].bottom}px`;
    tile.title = visible(item.name);
  });
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="; // Until there is a preview.

function newTile(item) {
  const tile = element("img", "", { alt: "", src: EMPTY, item, className: "tile", draggable: false });
  tile.addEventListener("click", () => openView(item));
  return tile;
}

/**
 * The largest size with which all have room, and each image's place: its middle is exactly at its score, and where two
 * would overlap, one stands on the other.
 */
function arranged(judged, width, height) {
  const byScore = [...judged.keys()].sort((a, b) => judged[a].result.score - judged[b].result.score);
  for (const size of SIZES) {
    if (width < NARROW && size > NARROW_TILE) continue;
    const levels = Math.max(1, Math.floor(height / size));
    const ends = []; // Where the last tile of each level ends.
    const places = [];
    let over = false;
    for (const number of byScore) {
      const left = judged[number].result.score * width - size / 2;
      let level = ends.findIndex((end) => end <= left);
      if (level < 0) level = ends.length;
      over ||= level >= levels;
      if (over && size !== SIZES.at(-1)) break;
      ends[Math.min(level, levels - 1)] = left + size;
      places[number] = { left: left + GAP / 2, bottom: Math.min(level, levels - 1) * size };
    }
    if (!over || size === SIZES.at(-1)) return { size, places };
  }
  return { size: 1, places: [] };
}

function decide(changes) {
  Object.assign(settings, changes);
  keepSettings();
  everythingChanged();
}

/** The server's facts have come, or changed. */
export function drawServerFacts() {
  drawRates();
  draw();
}

function adjust() {
  const open = byId("adjust").getAttribute("aria-expanded") !== "true";
  byId("adjust").setAttribute("aria-expanded", String(open));
  byId("dials").dataset.open = String(open);
}

export function listenForLine() {
  byId("adjust").addEventListener("click", adjust);
  onPage(draw);
  new ResizeObserver(drawPile).observe(byId("pile"));
  const clamp = (value) => Math.min(0.99, Math.max(0.01, Number(value)));
  byId("threshold").addEventListener("input", ({ target }) => decide({ threshold: clamp(target.value) }));
  byId("exact").addEventListener("change", ({ target }) => {
    if (target.value !== "" && Number.isFinite(Number(target.value))) decide({ threshold: clamp(target.value) });
    target.value = shortest(limitsOf(null).threshold);
  });
  byId("band").addEventListener("input", ({ target }) => decide({ band: Number(target.value) }));
  byId("rate").addEventListener("change", ({ target }) => decide({ rate: Number(target.value) }));
  byId("reset").addEventListener("click", () => {
    decide({ threshold: null, band: null });
    byId("threshold").focus();
  });
}
