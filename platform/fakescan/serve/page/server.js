// What the page knows of the server: its facts, the key, and the two ways in which it says no.

import { byId, megapixels, pause, sentence, setText } from "./dom.js";

const CAUSES = {
  not_an_image: "This file is not an image that can be read.",
  unsupported_format: "Images of this kind are not read.",
  truncated: "The file is damaged or ends early.",
  too_large: "The file is too large.",
  too_many_pixels: "The image is too large.",
  judge_failed: "The model could not judge this image.",
}; // In plain words; the server's own message, which is more exact, follows.

const PIXELS = /^(\d+) x (\d+) pixels are more than (\d+)$/; // The server's words for too_many_pixels.

const KEY = "fakescan-key";

/** The answer to one image is not what was asked for; `message` is for people, `again` says whether retrying may help. */
export class Problem extends Error {
  constructor({ message, code, status = 0, again = false, wait = null }) {
    super([CAUSES[code], sentence(inMegapixels(message))].filter(Boolean).join(" "));
    Object.assign(this, { code, status, again, wait });
  }
}

/** The same unit as in what the page says of the server's limits. */
const inMegapixels = (message) =>
  message.replace(PIXELS, (_, width, height, limit) =>
    `It has ${width} × ${height} pixels, which are ${megapixels(width * height)}; this server takes at most ${megapixels(limit)}`);

/** What an answer that is no success says, as Problem. A proxy's own answer holds no problem document. */
export async function problemOf(response) {
  const { detail, code } = await response.json().catch(() => ({}));
  const { status } = response;
  const busy = [429, 502, 503, 504].includes(status); // 502 and 504: from a proxy whose server is away.
  const wait = busy ? Math.max(1, Math.ceil(Number(response.headers.get("Retry-After")) || 5)) : null;
  const again = status >= 500 || status === 408 || status === 429;
  return new Problem({ message: detail ?? `The server answered with status ${status}.`, code, status, again, wait });
}

export const server = {
  about: null, // What GET /v1/about says; nothing is sent before it is known.
  model: null, // The model of the latest answer: a rollout may change it while the page is open.
};

let whenReady = () => {};

/** Ask the server what it is, as often as it takes; `ready` is called then, and whenever a key has been accepted. */
export async function meet(ready) {
  whenReady = ready;
  for (;;) {
    try {
      const response = await fetch("v1/about");
      if (!response.ok) throw await problemOf(response);
      server.about = await response.json();
      break;
    } catch (error) {
      const why = error instanceof Problem ? error.message : "The server cannot be reached.";
      setText(byId("warning"), `${why} Trying again every few seconds.`);
      await pause(error.wait ?? 4);
    }
  }
  setText(byId("warning"), "");
  server.model = server.about.model;
  showKey();
}

/** An answer names another model than the page knows of: learn the facts of the new one. */
export async function modelChanged(model) {
  server.model = model;
  const response = await fetch("v1/about").catch(() => null);
  if (response?.ok) server.about = await response.json();
  whenReady();
}

// ---- The key --------------------------------------------------------------------------------------------------------

export const storedKey = () => sessionStorage.getItem(KEY);
export const locked = () => server.about.auth && !storedKey();
export const withKey = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

/** Ask for a key where one is needed and missing, and let the images go on where not. */
function showKey(words = "") {
  byId("key-form").hidden = !locked();
  byId("forget-key").hidden = !server.about.auth || locked();
  setText(byId("key-words"), words);
  byId("key").setAttribute("aria-invalid", String(Boolean(words)));
  whenReady();
}

/** The server refused `key`: ask for another, unless one of the other requests already did. */
export function askAgain(key, why) {
  if (server.about.auth && storedKey() !== key) return;
  server.about.auth = true;
  sessionStorage.removeItem(KEY);
  showKey(key ? `The server did not accept the key. ${why}` : why);
  byId("key").focus();
}

/** Have the key that was typed checked before an image is sent with it, so that a wrong one is said at once. */
async function useKey(event) {
  event.preventDefault();
  const key = byId("key").value.trim();
  const button = byId("key-form").querySelector("button");
  button.disabled = true;
  const words = await faultOf(key);
  button.disabled = false;
  if (words) {
    setText(byId("key-words"), words);
    byId("key").setAttribute("aria-invalid", "true");
    byId("key").focus();
    byId("key").select();
    return;
  }
  sessionStorage.setItem(KEY, key);
  byId("key").value = "";
  showKey();
  byId("choose").focus();
}

/** Why the server does not take this key, in words; nothing where it does, or where it is too busy to say. */
async function faultOf(key) {
  const response = await fetch("v1/models", { headers: withKey(key) }).catch(() => null);
  if (!response) return "The server cannot be reached, so the key could not be checked. Try again.";
  if (response.status !== 401 && response.status !== 403) return "";
  return `The server did not accept the key. ${(await problemOf(response)).message}`;
}

function forgetKey() {
  sessionStorage.removeItem(KEY);
  showKey();
  byId("key").focus();
}

byId("key-form").addEventListener("submit", useKey);
byId("forget-key").addEventListener("click", forgetKey);
