// Keeps results, decisions, notes and small previews in this browser over a reload, and says so. The images themselves
// are not kept. One entry for each image, so that saving one is cheap and two tabs do not write over each other.

import { byId, setText } from "./dom.js";
import { isOver, items, newItem, onItem, pageChanged, settings } from "./items.js";
import { Problem } from "./server.js";

const ITEM = "fakescan-item:";
const SETTINGS = "fakescan-settings";
const OFF = "fakescan-keep-nothing";
const SOON_MS = 400;
const CUT_OFF = { message: "The page was loaded again before this image was judged. Choose the file again.", code: "interrupted" };

const FIELDS = ["id", "added", "name", "size", "sha256", "preview", "result", "answer", "explanation", "requestId", "decision", "note", "decided"];

let store = null; // null where the browser gives pages no storage.
let full = false;
const dirty = new Set();

try {
  store = localStorage;
  store.getItem(SETTINGS);
} catch {
  store = null;
}

const keeps = () => store != null && store.getItem(OFF) == null;

/** What was kept, oldest first: images whose files are gone, with their results. */
export function keptItems() {
  if (!keeps()) return [];
  const found = Object.keys(store).filter((key) => key.startsWith(ITEM)).map((key) => parsed(store.getItem(key)));
  const whole = found.filter((fields) => fields && typeof fields.id === "string" && typeof fields.name === "string");
  return whole.sort((a, b) => a.added - b.added).map(itemOf);
}

function itemOf(fields) {
  const item = newItem({ ...fields, kept: true });
  if (!fields.problem) return { ...item, state: "done" };
  const { message, code } = fields.problem;
  return { ...item, state: "failed", problem: Object.assign(new Problem({ message, code }), { message }) };
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export function restoreSettings() {
  const kept = keeps() ? Object(parsed(store.getItem(SETTINGS))) : {};
  const share = (value) => typeof value === "number" && value >= 0 && value < 1;
  for (const name of ["threshold", "band", "rate"]) if (share(kept[name])) settings[name] = kept[name];
  if (settings.threshold === 0) settings.threshold = null;
  if (["cards", "list"].includes(kept.view)) settings.view = kept.view;
  settings.shortcuts = kept.shortcuts !== false;
}

export function keepSettings() {
  if (keeps()) write(SETTINGS, settings);
}

export function forgetKept(item) {
  dirty.delete(item);
  store?.removeItem(ITEM + item.id);
}

function save() {
  if (!keeps()) dirty.clear(); // They were to be saved soon, and meanwhile nothing is to be kept.
  for (const item of dirty) {
    if (!items.includes(item)) continue;
    const fields = Object.fromEntries(FIELDS.map((name) => [name, item[name]]));
    const problem = item.problem ?? (isOver(item) ? null : CUT_OFF);
    if (problem) fields.problem = { message: problem.message, code: problem.code };
    // Without its preview an entry is a tenth of the size.
    if (!write(ITEM + item.id, fields) && !write(ITEM + item.id, { ...fields, preview: "" })) full = true;
  }
  dirty.clear();
  say();
}

function write(key, value) {
  try {
    store.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false; // The browser's few megabytes are full.
  }
}

function toggle() {
  if (keeps()) {
    Object.keys(store).filter((key) => key.startsWith(ITEM) || key === SETTINGS).forEach((key) => store.removeItem(key));
    store.setItem(OFF, "1");
  } else {
    store.removeItem(OFF);
    items.forEach((item) => dirty.add(item));
    save();
    keepSettings();
  }
  say();
}

function say() {
  const words = !store
    ? "This browser keeps nothing for this page: export your results before you leave."
    : !keeps()
      ? "Nothing is kept in this browser: results are gone when you leave or reload. Export them before."
      : full
        ? "This browser’s storage is full: newer results are gone when you leave or reload. Export them before."
        : "Results, decisions, notes and small previews are kept in this browser until you clear them, for whoever uses it. The images are not.";
  setText(byId("kept-words"), words);
  byId("keep").hidden = !store;
  byId("keep").textContent = store && keeps() ? "Keep nothing here" : "Keep results here";
}

export function listenForKeeping() {
  let timer = null;
  onItem((item) => {
    // Every result once it is there, not at each word of it.
    if (!keeps() || (item.state === "working" && dirty.has(item))) return;
    if (isOver(item) || !item.kept) dirty.add(item);
    timer ??= setTimeout(() => ((timer = null), save()), SOON_MS);
  });
  window.addEventListener("pagehide", () => keeps() && save());
  byId("keep").addEventListener("click", toggle);
  window.addEventListener("storage", ({ key }) => key === OFF && say());
  say();
  pageChanged();
}
