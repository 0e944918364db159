// Elements, words and sizes: what every other module of the page uses. Text enters the page through textContent only.

export const byId = (id) => document.getElementById(id);

// Characters that would reorder, break or hide what stands around them.
const UNSEEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

const code = (character) => character.charCodeAt(0).toString(16).padStart(4, "0");

/** A stranger's text, in which nothing is hidden. */
export const plain = (text) =>
  String(text ?? "").replace(UNSEEN, (found) => `\\u${code(found)}`);

// Those of them that a file's name may hide behind; joiners are part of some scripts and of emoji.
const DISGUISE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

/** A file's name as it is, left to right: `cat_⟨U+202E⟩gpj.exe.png`. */
export const visible = (name) => name.replace(DISGUISE, (found) => `⟨U+${code(found).toUpperCase()}⟩`);

/** Data as JSON in which no character is unseen. */
export const jsonOf = (data) =>
  JSON.stringify(data, null, 2).replace(DISGUISE, (found) => (found === "\n" ? found : `\\u${code(found)}`));

/** Set an element's words, and hide it while it has none. An unchanged text keeps the reader's selection. */
export function setText(target, words) {
  if (target.textContent !== words) target.textContent = words;
  target.hidden = !words;
}

export function element(tag, words = "", properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: words }, properties);
}

/** An icon from the symbols at the top of the page. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** The server writes its messages as command lines do: in lower case, without a full stop. */
export function sentence(words) {
  const begun = words.replace(/^[a-z]+(?=[ ,])/, (word) => word[0].toUpperCase() + word.slice(1));
  return begun && !/[.!?]$/.test(begun) ? `${begun}.` : begun;
}

export function bytes(count) {
  const [unit, size] = count >= 2 ** 20 ? ["MiB", 2 ** 20] : count >= 1024 ? ["KiB", 1024] : ["bytes", 1];
  return `${(count / size).toLocaleString("en", { maximumFractionDigits: 1 })}\u00a0${unit}`;
}

export const megapixels = (count) => `${(count / 1e6).toLocaleString("en", { maximumSignificantDigits: 4 })} megapixels`;

export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

export function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

/** Hand a file to the browser's downloads. */
export function saveFile(name, type, text) {
  const link = element("a", "", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // Some browsers begin to read it only later.
}

const unsaid = [];

/** Tell a screen reader; of many messages within a second only what they amount to, and the `more` of a lone one. */
export function announce(message, more = "") {
  if (unsaid.push(`${message} ${more ?? ""}`.trim()) > 1) return;
  setTimeout(() => {
    byId("status").textContent = unsaid.length > 3 ? byId("summary").textContent : unsaid.join(" ");
    unsaid.length = 0;
  }, 800);
}
