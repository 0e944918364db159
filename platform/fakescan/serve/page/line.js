// The line: every judged image stands at its score, from 0 to 1; the threshold is a line that can be moved through them.

import { byId, element, setText } from "./dom.js";
import { everythingChanged, isJudged, items, onPage, settings } from "./items.js";
import { keepSettings } from "./keep.js";
import { server } from "./server.js";
import { RATES, limitsOf, meaningOf, outcomeOf, percent, rateOf } from "./verdict.js";

const SIZES = [64, 52, 40, 30, 22, 16, 12, 8, 5, 3]; // Pixels of a tile: the largest with which all have room.
const WITH_PICTURE = 16; // A smaller tile is a spot of its outcome's colour.
const GAP = 2;

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
  setText(byId("flag"), `threshold ${words}`);
  if (document.activeElement !== byId("threshold")) byId("threshold").value = threshold;
  byId("threshold").setAttribute("aria-valuetext", words);
  if (document.activeElement !== byId("exact")) byId("exact").value = words;
  const half = low == null ? 0 : (high - low) / 2;
  if (document.activeElement !== byId("band")) byId("band").value = half;
  setText(byId("band-words"), low == null ? "none" : `${low.toFixed(2)} to ${high.toFixed(2)}`);
  byId("reset").hidden = settings.threshold == null && settings.band == null;
  setText(byId("low-end"), `0 · ${meaningOf(null) === "full" ? "real" : meaningOf(null) === "none" ? "means nothing" : "no forgery found"}`);
  document.querySelector(".dials").hidden = !items.length;
}

const shortest = (number) => (Number(number.toFixed(2)) === number ? number.toFixed(2) : String(Number(number.toPrecision(6))));

function drawRates() {
  const rates = [...new Set([...RATES, server.about?.base_rate ?? 0.01])].sort((a, b) => b - a);
  byId("rate").replaceChildren(...rates.map((rate) => element("option", percent(rate), { value: String(rate) })));
  byId("rate").value = String(rateOf());
  byId("rate").closest("label").hidden = server.about?.calibrated === false || meaningOf(null) === "none";
}

/** Stack the tiles from the line upwards, each in the column of its score. */
function drawPile() {
  const pile = byId("pile");
  const judged = items.filter(isJudged);
  const { clientWidth: width, clientHeight: height } = pile;
  const { size, places } = arranged(judged, width, height);
  for (const tile of [...pile.children]) {
    if (!judged.includes(tile.item)) tile.remove();
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
    tile.title = item.name;
  });
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="; // Until there is a preview.

function newTile(item) {
  const tile = element("img", "", { alt: "", src: EMPTY, item, className: "tile" });
  tile.addEventListener("click", () => openView(item));
  return tile;
}

/** The largest size with which every column has room, and each image's place. A full column leans on its neighbours. */
function arranged(judged, width, height) {
  for (const size of SIZES) {
    const columns = Math.max(1, Math.floor(width / size));
    const high = Math.max(1, Math.floor(height / size));
    const filled = new Array(columns).fill(0);
    const last = size === SIZES.at(-1);
    const places = [];
    for (const { result } of judged) {
      let column = Math.min(columns - 1, Math.floor(result.score * columns));
      if (last) while (filled[column] >= high && column !== Math.floor(columns / 2)) column += column < columns / 2 ? 1 : -1;
      places.push({ left: (column * width) / columns, bottom: filled[column]++ * size });
      if (filled[column] > high && !last) break;
    }
    if (places.length === judged.length && (last || Math.max(0, ...filled) <= high)) return { size, places };
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

export function listenForLine() {
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
