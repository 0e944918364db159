// All images together: what is shown, in which order, as cards or as a list, and which one has the focus.

import { byId, counted, setText } from "./dom.js";
import { LIST_FROM, isOver, items, onItem, onPage, pageChanged, settings } from "./items.js";
import { drawCard, makeCard } from "./card.js";
import { forgetKept, keepSettings } from "./keep.js";
import { cancel, pump, retry } from "./queue.js";
import { WORDS, limitsOf, outcomeOf } from "./verdict.js";

let openView = () => {};

export const onOpen = (listener) => (openView = listener);

export function newCard(item) {
  item.card = makeCard(item, { open: (one) => openView(one), remove, cancel, retry });
  byId("gallery").append(item.card);
}

const chosen = () => document.querySelector("[name=filter]:checked").value;

function matches(item, filter) {
  if (filter === "all") return true;
  return filter === "open" ? isOver(item) && !item.decision : outcomeOf(item) === filter;
}

/** The images that the filter shows, in the order of the page. */
export const shownItems = () => sorted(byId("sort").value).filter((item) => matches(item, chosen()));

function draw() {
  const count = (filter) => items.filter((item) => matches(item, filter)).length;
  document.body.dataset.filled = String(items.length > 0);
  document.body.dataset.lone = String(items.length === 1);
  byId("results").hidden = items.length === 0;
  const reviewing = items.some((item) => item.decision);
  for (const radio of document.getElementsByName("filter")) {
    const found = count(radio.value);
    setText(radio.parentElement.querySelector(".count"), String(found));
    // Only what there is to choose: a model either finds forgeries or says real, and few people review.
    const always = ["all", "fake", "error"].includes(radio.value) || radio.checked;
    radio.parentElement.hidden = !always && !(radio.value === "open" ? reviewing || items.length >= LIST_FROM : found);
  }
  setText(byId("summary"), summary(count));
  for (const item of items) item.card.hidden = !matches(item, chosen());
  setText(byId("none"), count(chosen()) ? "" : "No image here has this outcome.");
  arrange(sorted(byId("sort").value).map((item) => item.card));
  drawView();
}

export const isList = () => (settings.view === "auto" ? items.length >= LIST_FROM : settings.view === "list");

function drawView() {
  const view = isList() ? "list" : "cards";
  byId("view").setAttribute("aria-pressed", String(isList()));
  if (byId("gallery").dataset.view === view) return;
  byId("gallery").dataset.view = view;
  items.forEach(drawCard);
}

function summary(count) {
  if (!items.length) return "";
  const parts = ["fake", "real", "unfound", "uncertain", "nothing"].filter(count);
  const words = parts.map((is) => `${count(is)} ${WORDS[is].toLowerCase()}`);
  const open = items.filter((item) => !item.result?.verdict);
  const left = open.filter(isOver).length;
  if (left) words.push(`${left} without a verdict`);
  if (open.length > left) words.push(`${open.length - left} to go`);
  const models = new Set(items.map((item) => item.answer?.model).filter(Boolean));
  const several = models.size > 1 ? `; judged by ${models.size} models: ${[...models].join(", ")}` : "";
  return `${counted(items.length, "image")}: ${words.join(", ")}${several}`;
}

function sorted(order) {
  if (order === "added") return items;
  const rank = (item) => {
    const score = item.result?.score;
    if (score == null) return 2; // After every score.
    return order === "near" ? Math.abs(score - limitsOf(item).threshold) : order === "high" ? -score : score;
  };
  return [...items].sort((a, b) => rank(a) - rank(b));
}

/** Put the cards in order, moving only those in the wrong place: a moved element loses the focus. */
function arrange(cards) {
  const focused = document.activeElement;
  cards.forEach((card, place) => {
    const current = byId("gallery").children[place];
    if (current !== card) byId("gallery").insertBefore(card, current);
  });
  if (focused !== document.activeElement) focused.focus({ preventScroll: true });
}

/** The image that has the focus, or had it last. */
export function currentItem() {
  const card = document.activeElement?.closest?.(".card") ?? byId("gallery").querySelector("[data-current]");
  return items.find((item) => item.card === card);
}

export function makeCurrent(item) {
  mark(item);
  item.card.focus({ preventScroll: true });
  item.card.scrollIntoView({ block: "nearest" });
}

function mark(item) {
  byId("gallery").querySelector("[data-current]")?.removeAttribute("data-current");
  item.card.dataset.current = "";
}

/** The image `by` places further in what is shown, from `item` on; the first or last at the ends. */
export function neighbour(item, by) {
  const shown = shownItems();
  const place = item ? shown.indexOf(item) : -1;
  return shown[Math.min(shown.length - 1, Math.max(0, place + by))];
}

/** Show which card is meant. */
export function pointOut(item) {
  mark(item);
  item.card.scrollIntoView({ block: "nearest" });
  item.card.classList.remove("pointed-out");
  requestAnimationFrame(() => item.card.classList.add("pointed-out"));
}

export function remove(item) {
  const shown = shownItems();
  const place = shown.indexOf(item);
  const next = shown[place + 1] ?? shown[place - 1];
  forget(item);
  pageChanged();
  (next?.card.querySelector(".remove") ?? byId("choose")).focus();
  pump();
}

export function forget(item) {
  item.abort?.abort();
  if (item.picture.startsWith("blob:")) URL.revokeObjectURL(item.picture);
  item.card.remove();
  items.splice(items.indexOf(item), 1);
  forgetKept(item);
}

function clear() {
  if (items.length > 1 && !confirm(`Remove all ${items.length} images, their results and your notes from this page?`)) return;
  [...items].forEach(forget);
  setText(byId("remark"), "");
  pageChanged();
  byId("choose").focus();
}

export function listenForGallery() {
  onItem(drawCard);
  onPage(draw);
  byId("sort").addEventListener("change", pageChanged);
  byId("clear").addEventListener("click", clear);
  byId("view").addEventListener("click", () => {
    settings.view = isList() ? "cards" : "list";
    keepSettings();
    pageChanged();
  });
  byId("gallery").addEventListener("focusin", (event) => {
    const item = items.find(({ card }) => card === event.target.closest(".card"));
    if (item) mark(item);
  });
  for (const radio of document.getElementsByName("filter")) radio.addEventListener("change", pageChanged);
}
