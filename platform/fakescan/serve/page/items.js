// The images of this page and what became of them, and the reviewer's settings. Modules that show them listen here.

/**
 * One image. `file` is null where only its result was kept over a reload; `picture` is the address of what can be shown
 * of it, `preview` a small copy as a data: URL.
 * `state` is queued, working, waiting (for a busy server), done, failed or cancelled.
 * `result` is the server's, from the verdict on; `answer` what its `done` event says of all results: model, threshold.
 * `problem` says in words why there is no complete answer. `decision` is the reviewer's: fake, real, unsure or "".
 */
export const items = [];

export const settings = {
  threshold: null, // Score from which an image counts as fake on this page; null: the one each answer came with.
  band: null, // Half the width of the uncertain band around it; null: the server's own band.
  rate: null, // Share of fakes among the images that the words of how sure speak of; null: the server's.
  view: "auto", // cards, list, or auto: a list from LIST_FROM images on.
  shortcuts: true,
};

export const LIST_FROM = 30;

export const isOver = (item) => ["done", "failed", "cancelled"].includes(item.state);
export const isJudged = (item) => item.result?.verdict != null;

const drawOne = new Set(); // Called with an item that changed.
const drawAll = new Set(); // Called once a frame, after anything changed.

export const onItem = (listener) => drawOne.add(listener);
export const onPage = (listener) => drawAll.add(listener);

let latest = 0;

export function newItem(fields) {
  const item = {
    id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`,
    added: Math.max(Date.now(), latest + 1), file: null, name: "", size: 0, state: "queued", picture: "", preview: "", sha256: "",
    result: null, answer: null, explanation: "", problem: null, decision: "", note: "", decided: null,
    ...fields,
  };
  latest = Math.max(latest, item.added); // No two alike: a reload sorts by it.
  return item;
}

export function change(item, changes) {
  Object.assign(item, changes);
  show(item);
  pageChanged();
}

/** Draw one item and nothing else: while an explanation grows, nothing else changes. */
export function show(item) {
  if (items.includes(item)) drawOne.forEach((listener) => listener(item));
}

let planned = false;
let everyOne = false;

/** Draw all that depends on all items, soon: a slider or a hundred answers at once are one drawing. */
export function pageChanged() {
  if (planned) return;
  planned = true;
  const later = document.hidden ? setTimeout : requestAnimationFrame; // A hidden tab has no frames.
  later(() => {
    if (everyOne) items.forEach(show);
    planned = everyOne = false;
    drawAll.forEach((listener) => listener());
  });
}

/** The same, and every item as well. */
export function everythingChanged() {
  everyOne = true;
  pageChanged();
}
