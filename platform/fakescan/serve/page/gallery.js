// All images together: what is shown, in which order, as cards or as a list, and which one has the focus.

import { byId, counted, setText, visible } from "./dom.js";
import { LIST_FROM, change, isOver, items, onItem, onPage, pageChanged, settings, show } from "./items.js";
import { drawCard, makeCard } from "./card.js";
import { forgetKept, keepSettings } from "./keep.js";
import { cancel, mayRetry, retry } from "./queue.js";
import { WORDS, limitsOf, outcomeOf } from "./verdict.js";

const UNDO_MS = 60_000;

let openView = () => {};
let removed = null; // The image that was removed last, while it can be brought back.
let undoTimer = null;
const reviewing = new Set(); // What "To review" has shown since it was chosen: a decided image stays, so that K leads to it.

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

const isShown = (item) => matches(item, chosen()) || (chosen() === "open" && reviewing.has(item));

/** The images that the filter shows, in the order of the page. */
export const shownItems = () => sorted(byId("sort").value).filter(isShown);

function choose() {
  reviewing.clear();
  pageChanged();
}

function draw() {
  const count = (filter) => items.filter((item) => matches(item, filter)).length;
  document.body.dataset.filled = String(items.length > 0);
  document.body.dataset.lone = String(items.length === 1);
  byId("results").hidden = items.length === 0;
  const hasReview = items.some((item) => item.decision);
  for (const radio of document.getElementsByName("filter")) {
    const found = count(radio.value);
    setText(radio.parentElement.querySelector(".count"), String(found));
    // Only what there is to choose: a model either finds forgeries or says real, and few people review.
    const always = ["all", "fake", "error"].includes(radio.value) || radio.checked;
    radio.parentElement.hidden = !always && !(radio.value === "open" ? hasReview || items.length >= LIST_FROM : found);
  }
  setText(byId("summary"), summary(count));
  if (chosen() === "open") items.filter(isShown).forEach((item) => reviewing.add(item));
  for (const item of items) item.card.hidden = !isShown(item);
  const none = chosen() === "open" ? "No image is left to review." : "No image here has this outcome.";
  setText(byId("none"), items.some(isShown) ? "" : none);
  const failed = items.filter(mayRetry).length;
  byId("failed").hidden = failed < 2;
  setText(byId("failed-words"), `${counted(failed, "image")} got no complete answer.`);
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

function tryAll() {
  const failed = items.filter(mayRetry);
  failed.forEach(retry);
  makeCurrent(failed[0]); // The button that was pressed vanishes.
}

// ---- Removal --------------------------------------------------------------------------------------------------------

function remove(item) {
  const shown = shownItems();
  const place = shown.indexOf(item);
  const next = shown[place + 1] ?? shown[place - 1];
  endUndo();
  removed = item;
  takeOff(item);
  const more = item.decision && item.note ? ", and your decision and note" : item.decision ? ", and your decision" : item.note ? ", and your note" : "";
  setText(byId("undo-words"), `${visible(item.name)} was removed${more}.`);
  byId("undo").hidden = false;
  undoTimer = setTimeout(undoIsOver, UNDO_MS);
  byId("undo-status").textContent = `${byId("undo-words").textContent} Undo is offered, also by Control Z.`;
  pageChanged();
  // Never the next button of its kind: a second press would remove one more.
  if (next) makeCurrent(next);
  else byId("undo-button").focus();
}

/** Bring the image back that was removed last; false where there is none. */
export function undo() {
  if (!removed) return false;
  const item = removed;
  const twin = item.sha256 && items.find(({ sha256 }) => sha256 === item.sha256); // It was chosen again meanwhile.
  if (twin) {
    if (!twin.decision) change(twin, { decision: item.decision, decided: item.decided });
    change(twin, { note: twin.note || item.note });
  } else {
    removed = null;
    const later = items.findIndex(({ added }) => added > item.added);
    items.splice(later < 0 ? items.length : later, 0, item);
    byId("gallery").append(item.card);
    show(item);
    draw();
    pageChanged();
  }
  makeCurrent(twin || item);
  endUndo();
  byId("undo-status").textContent = `${visible(item.name)} is back.`;
  return true;
}

function undoIsOver() {
  // Not while somebody is about to press it.
  if (byId("undo").matches(":hover, :focus-within")) undoTimer = setTimeout(undoIsOver, UNDO_MS);
  else endUndo();
}

function endUndo() {
  clearTimeout(undoTimer);
  byId("undo").hidden = true;
  if (removed) dropPicture(removed);
  removed = null;
}

function takeOff(item) {
  item.card.remove();
  items.splice(items.indexOf(item), 1);
  forgetKept(item);
}

function dropPicture(item) {
  if (item.picture.startsWith("blob:")) URL.revokeObjectURL(item.picture);
}

/** Remove an image for good. */
export function forget(item) {
  item.abort?.abort();
  dropPicture(item);
  takeOff(item);
}

function clear() {
  if (items.length > 1 && !confirm(`Remove all ${items.length} images, their results and your notes from this page?`)) return;
  setText(byId("warning"), "");
  if (items.length === 1 && isOver(items[0])) return remove(items[0]);
  [...items].forEach(forget);
  endUndo();
  setText(byId("remark"), "");
  pageChanged();
  byId("choose").focus();
}

export function listenForGallery() {
  onItem(drawCard);
  onPage(draw);
  byId("sort").addEventListener("change", pageChanged);
  byId("clear").addEventListener("click", clear);
  byId("undo-button").addEventListener("click", undo);
  byId("try-all").addEventListener("click", tryAll);
  byId("view").addEventListener("click", () => {
    settings.view = isList() ? "cards" : "list";
    keepSettings();
    pageChanged();
  });
  byId("gallery").addEventListener("focusin", (event) => {
    const item = items.find(({ card }) => card === event.target.closest(".card"));
    if (item) mark(item);
  });
  for (const radio of document.getElementsByName("filter")) radio.addEventListener("change", choose);
}
