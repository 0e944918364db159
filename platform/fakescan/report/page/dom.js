// Elements, words and sizes: what every other module of the page uses. Text enters the page through textContent only.

export const byId = (id) => document.getElementById(id);

/** Set an element's words, and hide it while it has none. */
export function setText(target, words) {
  if (target.textContent !== words) target.textContent = words;
  target.hidden = !words;
}

export function element(tag, properties = {}, ...children) {
  const { dataset, aria, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset ?? {});
  for (const [name, value] of Object.entries(aria ?? {})) made.setAttribute(`aria-${name}`, String(value));
  made.append(...children.filter((child) => child != null));
  return made;
}

/** An icon from the symbols at the top of the page. */
export function icon(name) {
  const made = svg("svg", { "aria-hidden": "true" });
  made.append(svg("use", { href: `#icon-${name}` }));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

export const number = (count) => count.toLocaleString("en");

export const counted = (count, noun, several = `${noun}s`) => `${number(count)} ${count === 1 ? noun : several}`;

/** A share in words that neither round something to nothing nor most to all: 0.04 % and 99.97 % keep their digits. */
export function percent(share) {
  if (share == null || Number.isNaN(share)) return "–";
  const rest = Math.min(share, 1 - share);
  const digits = rest <= 0 || rest >= 0.1 ? 0 : rest >= 0.01 ? 1 : rest >= 0.001 ? 2 : 3;
  return `${(share * 100).toFixed(digits)}\u00a0%`;
}

export function bytes(count) {
  const [unit, size] = count >= 2 ** 20 ? ["MiB", 2 ** 20] : count >= 1024 ? ["KiB", 1024] : ["bytes", 1];
  return `${(count / size).toLocaleString("en", { maximumFractionDigits: 1 })}\u00a0${unit}`;
}

// Characters that would reorder, break or hide what stands around them: in a name they are shown by their numbers.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** Someone else's text, as one line in which nothing is hidden. */
export const plain = (text) =>
  String(text ?? "").replace(UNSEEN, (found) => `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Someone else's text of several lines. */
export const plainLines = (text) =>
  String(text ?? "")
    .split(/\r?\n/)
    .map((line) => plain(line.replaceAll("\t", " ")))
    .join("\n");

export function button(words, act, properties = {}) {
  const made = element("button", { type: "button", textContent: words, ...properties });
  made.addEventListener("click", act);
  return made;
}

/** A button that copies a text; it says so, since a copy makes no sound. */
export function copyButton(words, text, label) {
  const made = button(words, async () => {
    const copied = await copy(typeof text === "function" ? text() : text);
    made.textContent = copied ? "Copied" : "Select and copy it";
    announce(copied ? "Copied." : "This browser did not copy it.");
    setTimeout(() => (made.textContent = words), 2000);
  });
  made.className = "small";
  if (label) made.setAttribute("aria-label", label);
  return made;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // A page without https has no clipboard of its own.
  }
}

function copyBySelection(text) {
  const field = element("textarea", { value: text, className: "unseen", readOnly: true });
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus?.({ preventScroll: true });
  return copied;
}

/** Hand a file to the browser's downloads. */
export function saveFile(name, blob) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // Some browsers begin to read it only later.
}

/** Tell a screen reader. */
export function announce(words) {
  byId("status").textContent = words;
}

/** Say what went wrong. */
export function showError(error) {
  const anew = error.status === 404 ? " The report may have been made anew since this page was loaded." : "";
  showProblem(`${error.message}.${anew}`);
}

/** A problem that the reader can do something about; an empty one takes it away. */
export function showProblem(words) {
  setText(byId("problem-words"), words);
  byId("problem").hidden = !words;
}
