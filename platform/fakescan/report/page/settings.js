// What a reader chooses for this tab: whether images are blurred, and whether single keys work.

import { byId } from "./dom.js";

const listeners = [];

function read(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null; // This browser gives pages no storage.
  }
}

export function keep(name, value) {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // The choice lasts until the page is left.
  }
}

export const kept = (name) => read(`fakescan-${name}`);

let shown = kept("shown") === "yes";

export const isBlurred = () => !shown;

export const onBlur = (listener) => listeners.push(listener);

export function blurred() {
  document.body.dataset.blur = String(!shown);
  byId("blur").setAttribute("aria-pressed", String(!shown));
  for (const listener of listeners) listener(!shown);
}

export function toggleBlur(show = !shown) {
  shown = show;
  keep("fakescan-shown", shown ? "yes" : "no");
  blurred();
}

export function listenForBlur() {
  byId("blur").addEventListener("click", () => toggleBlur());
  byId("shortcuts").checked = kept("keys") !== "no";
  byId("shortcuts").addEventListener("change", ({ target }) => keep("fakescan-keys", target.checked ? "yes" : "no"));
}

export const hasShortcuts = () => byId("shortcuts").checked;
