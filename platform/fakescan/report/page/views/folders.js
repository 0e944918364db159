// Folders: the worst first, or as a tree, each with the interval of its share.

import { go, imagesHash, state } from "../address.js";
import { button, byId, element, number, percent, plain, saveFile } from "../dom.js";
import { prefetch } from "../model/facets.js";
import { allFolders, shortPath, worstFirst } from "../model/folders.js";
import { report } from "../model/report.js";
import { shareBar } from "./charts.js";
import { csvOf } from "../model/csv.js";

const PAGE_ROWS = 100;
let shown = PAGE_ROWS;
let lastSearch = null;
let focusOn = null; // The folder that was opened or closed: its button is made anew.

export async function drawFolders(now) {
  const body = byId("folders");
  if (!body.childElementCount) body.append(...frame());
  if (byId("folder-search") !== document.activeElement) byId("folder-search").value = now.search;
  if (lastSearch !== now.search) shown = PAGE_ROWS;
  lastSearch = now.search;
  prefetch("folder", "verdict"); // For whoever goes on to a folder's images.
  const all = await allFolders();
  const wanted = now.search.toLowerCase();
  const isTree = now.tree;
  const opened = openedIn(now);
  byId("as-tree").setAttribute("aria-pressed", String(isTree && !wanted));
  byId("as-list").setAttribute("aria-pressed", String(!isTree || Boolean(wanted)));
  const found = wanted ? all.filter(({ path }) => path.toLowerCase().includes(wanted)) : all;
  const rows = isTree && !wanted ? branches(all, opened) : worstFirst(found, all);
  byId("folder-words").textContent = wanted
    ? `${number(rows.length)} of ${number(all.length)} folders`
    : `${number(isTree ? all.length : rows.length)} folders${report.data.folders.merged ? `, and ${number(report.data.folders.merged)} too small to list, counted in those above them` : ""}`;
  byId("folder-rows").replaceChildren(folderTable(rows.slice(0, shown), { tree: isTree && !wanted, opened }));
  if (focusOn != null) byId("folder-rows").querySelector(`[data-folder="${focusOn}"] .toggle`)?.focus();
  focusOn = null;
  byId("more-folders").hidden = rows.length <= shown;
  byId("more-folders").textContent = `Show ${number(Math.min(rows.length - shown, PAGE_ROWS * 5))} more`;
}

function frame() {
  const search = element("input", {
    type: "search",
    id: "folder-search",
    placeholder: "Part of a path",
    aria: { label: "Find a folder" },
  });
  search.addEventListener("input", () => go({ search: search.value }, { replace: true }));
  const mode = (id, words, tree) =>
    button(
      words,
      () => ((shown = PAGE_ROWS), go({ search: "", tree, open: tree ? state().open : [] })),
      { id, className: "small" },
    );
  return [
    element("p", {
      className: "fine",
      textContent:
        "Share of images called fake, drawn towards the share of all where a folder has few, with its 95 % interval. Folders count what lies below them.",
    }),
    element(
      "div",
      { className: "tools" },
      mode("as-list", "Worst first", false),
      mode("as-tree", "As a tree", true),
      search,
      button("Save as CSV", saveCsv, { className: "small" }),
    ),
    element("p", { className: "fine", id: "folder-words", role: "status" }),
    element("div", { id: "folder-rows" }),
    button("", () => ((shown += PAGE_ROWS * 5), drawFolders(state())), { id: "more-folders" }),
  ];
}

/** The folders that are open, by their paths; the base always is. */
const openedIn = (now) => new Set(now.open);

function toggle(folder) {
  const open = state().open.filter((path) => path !== folder.path);
  go({ open: open.length < state().open.length ? open : [...open, folder.path] }, { replace: true });
  focusOn = folder.id;
}

/** Folders of the tree whose parents are open. */
function branches(all, opened) {
  const found = [];
  for (let id = 0; id < all.length; id = !id || opened.has(all[id].path) ? id + 1 : all[id].last + 1)
    found.push(all[id]);
  return found;
}

/** A table of folders; each leads to its images. */
export function folderTable(folders, { tree = false, opened = new Set() } = {}) {
  const most = Math.max(0.001, ...folders.map(({ high }) => high ?? 0));
  const head = element("tr");
  for (const [words, name] of [
    ["Folder", ""],
    ["Flagged", "count"],
    ["Images", "count"],
    ["Share, with its 95 % interval", "share"],
    ["Errors", "count errors"],
  ])
    head.append(element("th", { scope: "col", textContent: words, className: name }));
  const body = element("tbody");
  for (const folder of folders) body.append(folderRow(folder, most, tree, opened));
  return element("table", { className: "folders" }, element("thead", {}, head), body);
}

function folderRow(folder, most, tree, opened) {
  const words = plain(shortPath(folder.path));
  const link = element(
    "a",
    { href: imagesHash({ folder: folder.path, verdict: folder.fake ? ["fake"] : [] }) },
    element("bdi", { textContent: tree && folder.depth ? plain(folder.name) : words }),
  );
  const name = element("th", { scope: "row" });
  if (tree) {
    const holder = element("span", { className: "branch" });
    holder.style.paddingInlineStart = `${Math.min(folder.depth, 12) * 1.1}rem`;
    const isOpen = !folder.id || opened.has(folder.path);
    const hasMore = folder.id && folder.last > folder.id; // The base is what the tree is of.
    const control = hasMore
      ? button(isOpen ? "−" : "+", () => toggle(folder), { className: "toggle", aria: {} })
      : element("span", { className: "toggle" });
    if (hasMore) {
      control.setAttribute("aria-expanded", String(isOpen));
      control.setAttribute("aria-label", `Folders in ${words}`);
    }
    holder.append(control, link);
    name.append(holder);
  } else {
    name.append(link);
  }
  const share = element("td", { className: "share" });
  const middle = folder.shrunk ?? folder.shrunken;
  if (folder.low != null)
    share.append(
      shareBar({ ...folder, shrunken: middle }, most),
      element("span", {
        className: "share-words",
        textContent: `${percent(middle)} (${percent(folder.low)} to ${percent(folder.high)})`,
      }),
    );
  else share.append(element("span", { className: "share-words", textContent: "no verdicts" }));
  const made = element(
    "tr",
    { dataset: { folder: folder.id } },
    name,
    element("td", { className: "count", textContent: number(folder.fake) }),
    element(
      "td",
      { className: "count" },
      element("a", {
        href: imagesHash({ folder: folder.path }),
        textContent: number(folder.rows),
        aria: { label: `All ${number(folder.rows)} images of ${words}` },
      }),
    ),
    share,
  );
  made.append(element("td", { className: "count errors", textContent: folder.errors ? number(folder.errors) : "" }));
  return made;
}

async function saveCsv() {
  const now = state();
  const all = await allFolders();
  const found = worstFirst(
    all.filter(({ path }) => path.toLowerCase().includes(now.search.toLowerCase())),
    all,
  );
  const names = ["path", "rows", "real", "fake", "uncertain", "errors", "share", "low", "high"];
  saveFile(
    "folders.csv",
    new Blob([csvOf([names, ...found.map((folder) => names.map((name) => folder[name]))])], { type: "text/csv" }),
  );
}
