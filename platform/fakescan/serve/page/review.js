// The reviewer's decision and note, and the single keys that make going through many images quick.

import { announce, byId, visible } from "./dom.js";
import { change, settings } from "./items.js";
import { currentItem, makeCurrent, neighbour, undo } from "./gallery.js";
import { keepSettings } from "./keep.js";
import { closeView, eyeToggle, isOpen, openNext, openView, seenToggle, viewedItem, zoomBy, zoomToFit } from "./viewer.js";
import { DECISIONS } from "./verdict.js";

export function decide(item, decision) {
  change(item, { decision, decided: decision ? new Date().toISOString() : null });
  announce(`${visible(item.name)}: ${decision ? `you decided ${DECISIONS[decision]}` : "no decision"}.`);
}

/** The image that keys mean: the one in full view, else the one with the focus. */
const meant = () => (isOpen() ? viewedItem() : currentItem());

function step(by) {
  if (isOpen()) return openNext(by);
  const next = neighbour(currentItem(), by);
  if (next) makeCurrent(next);
}

function toggleDecision(decision) {
  const item = meant();
  if (item) decide(item, item.decision === decision ? "" : decision);
}

function space() {
  if (isOpen()) return closeView();
  const item = currentItem() ?? neighbour(null, 1);
  if (item) openView(item);
}

function note() {
  if (!isOpen()) {
    if (!meant()) return;
    openView(meant());
  }
  byId("note").focus();
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  " ": space,
  f: () => toggleDecision("fake"),
  r: () => toggleDecision("real"),
  u: () => toggleDecision("unsure"),
  n: note,
  "+": () => isOpen() && zoomBy(1.25),
  "=": () => isOpen() && zoomBy(1.25),
  "-": () => isOpen() && zoomBy(0.8),
  0: () => isOpen() && zoomToFit(),
  m: () => isOpen() && seenToggle(),
  p: () => isOpen() && eyeToggle(),
  "?": () => byId("keys").open || byId("keys").showModal(),
};

// A field takes letters; a control that has the focus takes the space bar.
const FIELD = "textarea, select, input:not([type=radio], [type=checkbox], [type=range])";
const CONTROL = "button, a, summary, input";

function press(event) {
  const { target, key } = event;
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && key.toLowerCase() === "z";
  if (isUndo && !target.closest(FIELD) && !document.querySelector("dialog[open]") && undo()) return event.preventDefault();
  if (!settings.shortcuts || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (target.closest(FIELD) || (key === " " && target.closest(CONTROL))) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog && !isOpen()) return;
  const act = KEYS[key.length === 1 ? key.toLowerCase() : key];
  if (!act) return;
  event.preventDefault();
  act();
}

export function listenForReview() {
  document.addEventListener("keydown", press);
  for (const radio of document.getElementsByName("decision")) {
    radio.addEventListener("change", () => decide(viewedItem(), radio.value));
  }
  byId("undecide").addEventListener("click", () => {
    decide(viewedItem(), "");
    document.querySelector("[name=decision]").focus();
  });
  byId("note").addEventListener("input", ({ target }) => change(viewedItem(), { note: target.value }));
  byId("open-keys").addEventListener("click", () => byId("keys").showModal());
  byId("close-keys").addEventListener("click", () => byId("keys").close());
  byId("shortcuts").checked = settings.shortcuts;
  byId("shortcuts").addEventListener("change", ({ target }) => {
    settings.shortcuts = target.checked;
    keepSettings();
  });
}
