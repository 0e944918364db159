// Single keys. Those of a view are asked first.

import { go, state } from "./address.js";
import { byId } from "./dom.js";
import { hasShortcuts, toggleBlur } from "./settings.js";
import { step } from "./views/image.js";

const VIEWS = ["overview", "images", "folders", "errors", "review"];
const FIELD = "textarea, select, input:not([type=radio], [type=checkbox])";

const REVIEW_KEYS = "fruszv";

const pressInReview = async (key) => (await import("./views/review.js")).pressInReview(key);

function press(event) {
  if (!hasShortcuts() || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.(FIELD)) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (act(key)) event.preventDefault();
}

function act(key) {
  const open = document.querySelector("dialog[open]");
  if (key === "b") return (toggleBlur(), true);
  if (open?.id === "image") {
    const by = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[key];
    return by ? (step(by), true) : false;
  }
  if (open) return false;
  if (key === "?") return (byId("keys").showModal(), true);
  if (state().view === "review" && REVIEW_KEYS.includes(key)) return (pressInReview(key), true);
  if (key === "e" && state().view === "images") return (byId("open-keep").click(), true);
  const link = VIEWS[Number(key) - 1] && byId("views").querySelector(`[href="#${VIEWS[Number(key) - 1]}"]`);
  if (!link || link.hidden) return false;
  go({ view: VIEWS[Number(key) - 1], image: null });
  return true;
}

export function listenForKeys() {
  document.addEventListener("keydown", press);
  byId("open-keys").addEventListener("click", () => byId("keys").showModal());
  byId("close-keys").addEventListener("click", () => byId("keys").close());
}
