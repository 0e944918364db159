// The state of the page is its address: every state has a link, and Back and Forward go through them.

const VIEWS = ["overview", "images", "folders", "errors", "review"];
export const SORTS = ["high", "low", "copies", "spread", "size", "run"];
const EMPTY = {
  verdict: [],
  score: [0, 100],
  folder: null,
  error: null,
  words: [],
  flags: [],
  origin: [],
  one: false,
  picture: null,
  sort: "high",
};

const listeners = [];

export const state = () => current;

/** Call `listener(state, before)` after every change. */
export const onState = (listener) => listeners.push(listener);

const list = (text) => (text ? text.split(",").filter(Boolean) : []);

let current = parse(location.hash);

function parse(hash) {
  const [view, query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  const found = new URLSearchParams(query);
  return {
    view: VIEWS.includes(view) ? view : "overview",
    verdict: list(found.get("verdict")),
    score: scoreOf(found.get("score")),
    folder: found.get("folder"),
    error: found.get("error"),
    words: list(found.get("words")),
    flags: list(found.get("flags")),
    origin: list(found.get("origin")),
    sort: SORTS.includes(found.get("sort")) ? found.get("sort") : "high",
    one: found.get("one") === "yes",
    picture: rowOf(found.get("picture")),
    image: rowOf(found.get("image")),
    within: found.get("within"),
    search: found.get("search") ?? "",
    design: found.get("design"),
    tree: found.get("as") === "tree",
    open: found.getAll("open"),
  };
}

/** A row of the run, and the position where it was last seen. */
function rowOf(text) {
  const found = /^(\d+)\.(\d+)$/.exec(text ?? "");
  return found && { position: Number(found[1]), rowId: Number(found[2]) };
}

/** Two percentages from "0.9-1"; the whole line for anything else. */
function scoreOf(text) {
  const found = /^([01](?:\.\d\d?)?)-([01](?:\.\d\d?)?)$/.exec(text ?? "");
  const [low, high] = found ? [Math.round(found[1] * 100), Math.round(found[2] * 100)] : [0, 100];
  return low >= 0 && high <= 100 && low < high ? [low, high] : [0, 100];
}

/** The address of a state, for links. */
export function hashOf(wanted) {
  const query = [];
  const add = (name, value) =>
    query.push(`${name}=${encodeURIComponent(value).replaceAll("%2C", ",").replaceAll("%2F", "/")}`);
  if (wanted.verdict?.length) add("verdict", wanted.verdict.join(","));
  if (wanted.score && !(wanted.score[0] === 0 && wanted.score[1] === 100))
    add("score", wanted.score.map((end) => end / 100).join("-"));
  if (wanted.folder != null) add("folder", wanted.folder);
  if (wanted.error) add("error", wanted.error);
  if (wanted.words?.length) add("words", wanted.words.join(","));
  if (wanted.flags?.length) add("flags", wanted.flags.join(","));
  if (wanted.origin?.length) add("origin", wanted.origin.join(","));
  if (wanted.one) add("one", "yes");
  if (wanted.picture) add("picture", `${wanted.picture.position}.${wanted.picture.rowId}`);
  if (wanted.sort && wanted.sort !== "high") add("sort", wanted.sort);
  if (wanted.within != null) add("within", wanted.within);
  if (wanted.search) add("search", wanted.search);
  if (wanted.design) add("design", wanted.design);
  if (wanted.tree) add("as", "tree");
  for (const path of wanted.open ?? []) add("open", path);
  if (wanted.image) add("image", `${wanted.image.position}.${wanted.image.rowId}`);
  return `#${wanted.view}${query.length ? `?${query.join("&")}` : ""}`;
}

/** The images that a filter shows, from anywhere in the page. */
export const imagesHash = (filter) => hashOf({ view: "images", ...filter });

/** Change the state. `replace`: Back does not lead here, as for each letter of a search. */
export function go(changes, { replace = false } = {}) {
  const before = current;
  const wanted = { ...current, ...changes };
  const hash = hashOf(wanted);
  if (hash === hashOf(before)) return;
  current = parse(hash);
  history[replace ? "replaceState" : "pushState"](null, "", hash);
  tell(before);
}

export const noFilter = () => ({ ...EMPTY });

export const isFiltered = ({ verdict, score, folder, error, words, flags, origin, one, picture }) =>
  Boolean(
    verdict.length ||
    score[0] > 0 ||
    score[1] < 100 ||
    folder != null ||
    error ||
    words.length ||
    flags.length ||
    origin.length ||
    one ||
    picture,
  );

/** What the choice of images depends on, as one text. */
export const filterKey = ({ verdict, score, folder, error, words, flags, origin, one, picture, sort }) =>
  JSON.stringify([verdict, score, folder, error, words, flags, origin, one, picture?.rowId, sort]);

function tell(before) {
  for (const listener of listeners) listener(current, before);
}

export function listenForAddress() {
  addEventListener("popstate", () => {
    const before = current;
    current = parse(location.hash);
    tell(before);
  });
}
