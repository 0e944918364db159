// The wall of images: as many cards as the screen shows, over any number of images.

import { filterKey, go, hashOf, onState, state } from "../address.js";
import { announce, byId, counted, element, number, plain, setText, showError } from "../dom.js";
import { select } from "../model/selection.js";
import { shortPath } from "../model/folders.js";
import { server } from "../model/parquet.js";
import { report } from "../model/report.js";
import { cardRows, knownCard, nameOf } from "../model/rows.js";
import { badge, scoreWords } from "./answer.js";
import { drawFilters } from "./filters.js";
import { showThumb } from "./picture.js";

const GAP = 12;
const WORDS_PX = 66; // Below the picture.
const MIN_CARD = 176;
const NARROW = 480;
const MOST_PX = 8_000_000; // Browsers end an element at some 17 or 33 million.
const SETTLE_MS = 60; // While someone drags the bar, nothing is read.

let selection = null;
let shownKey = "";
let sizes = { across: 1, height: 1, width: 1, rows: 0 };
let offset = 0; // What the bar leaves out: the true place is scrollTop + offset.
let lastTop = 0;
let current = 0; // The image that the keys are at.
const cards = new Map(); // index in the selection to its <li>
let timer;
let drawing = 0;

/** What is shown now: images in an order. */
export const shownImages = () => selection;

export async function chosenImages(now) {
  const key = filterKey(now);
  if (selection && key === shownKey) return selection;
  const mine = ++drawing;
  byId("scroller").setAttribute("aria-busy", "true");
  const found = await select(now);
  if (mine !== drawing) return selection;
  [selection, shownKey] = [found, key];
  return selection;
}

export async function drawGallery(now) {
  drawFilters(now);
  byId("sort").value = now.sort;
  const before = selection;
  const chosen = await chosenImages(now);
  if (state().view !== "images" || !chosen) return;
  byId("scroller").removeAttribute("aria-busy");
  const all = report.data.rows.count;
  byId("found").textContent =
    chosen.length === all ? counted(all, "image") : `${number(chosen.length)} of ${counted(all, "image")}`;
  setText(byId("none"), chosen.length ? "" : "No image is in all of these filters.");
  byId("scroller").hidden = !chosen.length;
  if (chosen !== before) {
    announce(byId("found").textContent);
    current = 0;
    clear();
    scrollToTrue(0);
  }
  layOut();
}

function clear() {
  byId("cards").replaceChildren();
  cards.clear();
}

// ---- Places ---------------------------------------------------------------------------------------------------------

const trueHeight = () => sizes.rows * sizes.height + GAP;
const shownHeight = () => Math.min(trueHeight(), MOST_PX);

function layOut() {
  const scroller = byId("scroller");
  const room = scroller.clientWidth - 2 * GAP;
  if (room <= 0 || !selection) return;
  const least = room < NARROW ? (room - GAP) / 2 : MIN_CARD;
  const across = Math.max(1, Math.floor((room + GAP) / (least + GAP)));
  const width = (room - (across - 1) * GAP) / across;
  const height = Math.round(width * 0.78) + WORDS_PX + GAP;
  const top =
    sizes.across === across && sizes.height === height ? null : Math.floor(trueTop() / sizes.height) * sizes.across;
  sizes = { across, width, height, rows: Math.ceil(selection.length / across) };
  byId("spacer").style.height = `${shownHeight()}px`;
  if (top != null) {
    clear();
    scrollToTrue(Math.floor(top / across) * height);
  }
  fill();
}

const trueTop = () => byId("scroller").scrollTop + offset;

/** Go to a true place: the bar gets a place in proportion, and the rest is the offset. */
function scrollToTrue(top) {
  const scroller = byId("scroller");
  const most = Math.max(0, trueHeight() - scroller.clientHeight);
  const wanted = Math.min(Math.max(0, top), most);
  const barMost = Math.max(0, shownHeight() - scroller.clientHeight);
  const bar = most > barMost ? Math.round((wanted / most) * barMost) : wanted;
  offset = Math.round(wanted - bar);
  lastTop = bar;
  scroller.scrollTop = bar;
  place();
}

/** A small step moves as far as it says; a jump of the bar goes to that share of all images. */
function scrolled() {
  const { scrollTop, clientHeight } = byId("scroller");
  const barMost = shownHeight() - clientHeight;
  const most = trueHeight() - clientHeight;
  const jumped = Math.abs(scrollTop - lastTop) > clientHeight * 2;
  lastTop = scrollTop;
  if (most > barMost) {
    const wanted = jumped ? (scrollTop / barMost) * most : Math.min(Math.max(0, scrollTop + offset), most);
    // Where the bar has come to its end before the images have, it goes back a little.
    const isEarly = !jumped && ((scrollTop <= 0 && wanted > 1) || (scrollTop >= barMost - 1 && wanted < most - 1));
    if (isEarly) scrollToTrue(wanted);
    else moveTo(Math.round(wanted - scrollTop));
  }
  if (jumped) timer = clearTimeout(timer);
  fill();
}

function moveTo(wanted) {
  if (wanted === offset) return;
  offset = wanted;
  place();
}

function place() {
  for (const [index, card] of cards) moveCard(card, index);
}

function moveCard(card, index) {
  const { across, width, height } = sizes;
  card.style.width = `${width}px`;
  card.style.height = `${height - GAP}px`;
  card.style.transform = `translate(${GAP + (index % across) * (width + GAP)}px, ${GAP + Math.floor(index / across) * height - offset}px)`;
}

// ---- Cards ----------------------------------------------------------------------------------------------------------

/** Indexes of the images on the screen, and a row above and below. */
function window_() {
  const { across, height } = sizes;
  const top = trueTop();
  const from = Math.max(0, Math.floor(top / height) - 1) * across;
  const to = Math.min(selection.length, (Math.ceil((top + byId("scroller").clientHeight) / height) + 1) * across);
  return [from, to];
}

function fill() {
  if (!selection || byId("view-images").hidden) return;
  const [from, to] = window_();
  for (const [index, card] of cards) {
    if ((index < from || index >= to) && !card.contains(document.activeElement)) {
      card.remove();
      cards.delete(index);
    }
  }
  if (!(current >= from && current < to) && !byId("cards").contains(document.activeElement)) current = from;
  let unknown = false;
  for (let index = from; index < to; index++) {
    if (!cards.has(index)) addCard(index);
    cards.get(index).firstChild.tabIndex = index === current ? 0 : -1;
    unknown ||= !cards.get(index).dataset.done;
  }
  if (unknown) timer ??= setTimeout(read, knownCard(selection.at(from)) ? 0 : SETTLE_MS);
}

function addCard(index) {
  const card = element("li", { className: "card", aria: { setsize: selection.length, posinset: index + 1 } });
  card.append(
    element(
      "a",
      { className: "open", tabIndex: -1 },
      element("span", { className: "frame" }),
      element("span", { className: "about" }),
    ),
  );
  card.firstChild.setAttribute("aria-label", `Image ${number(index + 1)}`);
  card.index = index;
  moveCard(card, index);
  const after = [...byId("cards").children].find((other) => other.index > index); // The keyboard goes in their order.
  byId("cards").insertBefore(card, after ?? null);
  cards.set(index, card);
  return card;
}

async function read() {
  timer = undefined;
  const mine = selection;
  const [from, to] = window_();
  const wanted = [];
  for (let index = from; index < to; index++)
    if (cards.has(index) && !cards.get(index).dataset.done) wanted.push([index, mine.at(index)]);
  try {
    const rows = await cardRows(wanted.map(([, position]) => position));
    if (mine !== selection) return;
    for (const [index, position] of wanted) drawCard(cards.get(index), rows.get(position), index);
    setText(
      byId("wall-notice"),
      server.sendsWholeFiles
        ? "This server answers no range requests: whole files are fetched, which takes longer."
        : "",
    );
  } catch (error) {
    showError(error);
  }
}

function drawCard(card, row, index) {
  if (!card || !row || card.dataset.done) return;
  card.dataset.done = "yes";
  const { folder, name } = nameOf(row.uri);
  const [link, frame, about] = [card.firstChild, card.querySelector(".frame"), card.querySelector(".about")];
  link.href = hashOf({ ...state(), image: { position: row.position, rowId: row.row_id } });
  const score = row.score == null ? "" : scoreWords(row.score);
  link.setAttribute(
    "aria-label",
    `${plain(name)}: ${badge(row.verdict).textContent}${score ? `, score ${score}` : row.error_code ? `, ${row.error_code}` : ""}${row.images > 1 ? `, one of ${number(row.images)} images of this picture` : ""}`,
  );
  link.title = plain(row.uri);
  const what = element(
    "span",
    { className: "what" },
    badge(row.verdict),
    element("span", { className: "score", textContent: score || plain(row.error_code) }),
    row.images > 1
      ? element("span", { className: "copies", title: `${number(row.images)} images are this picture`, textContent: `×${number(row.images)}` })
      : null,
  );
  about.replaceChildren(
    what,
    element("bdi", { className: "name", textContent: plain(name) }),
    element("bdi", { className: "folder", textContent: plain(shortPath(folder)) }),
  );
  showThumb(frame, row);
  if (index === current && document.activeElement === byId("cards")) link.focus({ preventScroll: true });
}

// ---- Keys -----------------------------------------------------------------------------------------------------------

function press(event) {
  if (!event.target.closest(".card") || event.ctrlKey || event.metaKey || event.altKey) return;
  const page = Math.max(1, Math.floor(byId("scroller").clientHeight / sizes.height)) * sizes.across;
  const by = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: sizes.across,
    ArrowUp: -sizes.across,
    PageDown: page,
    PageUp: -page,
    Home: -Infinity,
    End: Infinity,
  }[event.key];
  if (!by) return;
  event.preventDefault();
  focusImage(Math.min(selection.length - 1, Math.max(0, event.target.closest(".card").index + by)));
}

/** Put the focus on an image, wherever it is. */
export function focusImage(index) {
  const { across, height } = sizes;
  const [top, room] = [Math.floor(index / across) * height, byId("scroller").clientHeight];
  if (top < trueTop()) scrollToTrue(top);
  else if (top + height + GAP > trueTop() + room) scrollToTrue(top + height + GAP - room);
  current = index;
  const card = cards.get(index) ?? addCard(index);
  card.firstChild.focus({ preventScroll: true });
  fill();
}

export function listenForGallery() {
  byId("scroller").addEventListener("scroll", scrolled, { passive: true });
  byId("cards").addEventListener("keydown", press);
  byId("cards").addEventListener("focusin", ({ target }) => {
    const card = target.closest(".card");
    if (!card) return;
    current = card.index;
    for (const [index, one] of cards) one.firstChild.tabIndex = index === current ? 0 : -1;
  });
  byId("sort").addEventListener("change", ({ target }) => go({ sort: target.value }));
  new ResizeObserver(layOut).observe(byId("scroller"));
  // A link of a card holds the filter, which may have changed under it.
  onState(() => {
    for (const card of cards.values()) {
      const position = selection?.at(card.index);
      const row = knownCard(position);
      if (row && card.dataset.done)
        card.firstChild.href = hashOf({ ...state(), image: { position, rowId: row.row_id } });
    }
  });
}
