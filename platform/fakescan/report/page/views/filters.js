// What is shown: by verdict, score, folder, error, words of the explanation, and what else the report knows of images.

import { go, isFiltered, noFilter, state } from "../address.js";
import { button, byId, element, number, plain } from "../dom.js";
import { prefetch } from "../model/facets.js";
import { shortPath } from "../model/folders.js";
import { originLabel, origins } from "../model/origins.js";
import { outcomes, report, rowsOf, verdictName } from "../model/report.js";
import { badge } from "./answer.js";
import { histogram } from "./charts.js";

const MOST_WORDS = 16;
let made = false;

export function drawFilters(now) {
  if (!made) make();
  made = true;
  const form = byId("filters");
  for (const name of ["verdict", "words", "flags", "origin"]) {
    for (const box of form.querySelectorAll(`[name=${name}]`)) box.checked = now[name].includes(box.value);
  }
  byId("score-low").value = now.score[0];
  byId("score-high").value = now.score[1];
  const onePerPicture = byId("one-per-picture");
  if (onePerPicture) onePerPicture.checked = now.one;
  drawScore(now.score);
  const errors = byId("filter-error");
  if (errors) errors.value = now.error ?? "";
  byId("filter-folder").textContent = now.folder == null ? "All folders" : plain(shortPath(now.folder));
  byId("clear-folder").hidden = now.folder == null;
  byId("clear-filters").hidden = !isFiltered(now);
  byId("chips").replaceChildren(...chips(now));
}

const group = (title, ...children) => element("fieldset", {}, element("legend", { textContent: title }), ...children);

const checks = (name, entries) =>
  entries.map(({ value, label, rows }) => {
    const box = element("input", { type: "checkbox", name, value });
    box.addEventListener("change", () => {
      const chosen = [...byId("filters").querySelectorAll(`[name=${name}]:checked`)].map((one) => one.value);
      go({ [name]: chosen, image: null });
    });
    return element(
      "label",
      { className: "check" },
      box,
      label,
      element("span", { className: "count", textContent: number(rows) }),
    );
  });

const named = ({ name, label, rows }) => ({ value: name, label: element("span", { textContent: plain(label) }), rows });

function make() {
  const { words, flags, errors } = report.data;
  const close = button("Show the images", closeFilters, { className: "primary narrow-only" });
  const clear = button("Clear all", () => go({ ...noFilter(), sort: state().sort, image: null }), {
    id: "clear-filters",
    className: "quiet",
  });
  const parts = [
    element("div", { className: "filters-head" }, element("h2", { textContent: "Filters" }), clear),
    group(
      "Verdict",
      ...checks(
        "verdict",
        outcomes()
          .filter(rowsOf)
          .map((name) => ({ value: name, label: badge(name === "error" ? null : name), rows: rowsOf(name) })),
      ),
    ),
    scoreGroup(),
    folderGroup(),
  ];
  const known = words
    .filter(({ rows }) => rows)
    .toSorted((a, b) => b.rows - a.rows)
    .slice(0, MOST_WORDS);
  if (known.length) parts.push(group("The explanation speaks of", ...checks("words", known.map(named))));
  if (report.data.pictures) parts.push(pictureGroup(report.data.pictures));
  else byId("sort-copies").remove();
  if (!report.data.strip) byId("sort-spread").remove();
  const others = flags.filter(({ rows }) => rows);
  if (others.length) parts.push(group("Also", ...checks("flags", others.map(named))));
  const said = origins();
  if (said.length) parts.push(group("The file says of its origin", ...checks("origin", said.map(named))));
  if (errors.length) parts.push(errorGroup(errors));
  byId("filters").replaceChildren(...parts, close);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  const soon = () => prefetch("verdict", ...(known.length ? ["words"] : []), ...(others.length ? ["flags"] : []), ...(said.length ? ["origin"] : []));
  for (const event of ["pointerenter", "focusin"]) byId("filters").addEventListener(event, soon, { once: true });
  byId("open-filters").addEventListener("click", () => {
    byId("filters").dataset.open = "true";
    byId("open-filters").setAttribute("aria-expanded", "true");
    byId("filters").querySelector("input").focus();
  });
  byId("filters").addEventListener("keydown", ({ key }) => key === "Escape" && closeFilters());
}

function closeFilters() {
  byId("filters").dataset.open = "false";
  byId("open-filters").setAttribute("aria-expanded", "false");
  byId("open-filters").focus();
}

function scoreGroup() {
  const end = (id, label) => element("input", { id, type: "range", min: 0, max: 100, step: 1, aria: { label } });
  const [low, high] = [end("score-low", "Lowest score"), end("score-high", "Highest score")];
  const ends = () => [Math.min(Number(low.value), 99), Math.max(Number(high.value), 1)];
  const change = (moved) => {
    let [from, to] = ends();
    if (from >= to) [from, to] = moved === low ? [from, from + 1] : [to - 1, to];
    return [from, to];
  };
  for (const slider of [low, high]) {
    slider.addEventListener("input", () => drawScore(change(slider)));
    slider.addEventListener("change", () => go({ score: change(slider), image: null }));
  }
  const picture = element("div", { className: "score-chart", id: "score-chart" });
  picture.append(histogram({ bars: 50 }));
  return group(
    "Score",
    picture,
    element("div", { className: "two-ends" }, low, high),
    element("p", { className: "fine", id: "score-words" }),
  );
}

function drawScore([low, high]) {
  const all = low === 0 && high === 100;
  byId("score-words").textContent = all
    ? "0 to 1, and images without a score"
    : `${low / 100} to ${high === 100 ? "1" : `under ${high / 100}`}`;
  byId("score-low").setAttribute("aria-valuetext", String(low / 100));
  byId("score-high").setAttribute("aria-valuetext", String(high / 100));
  for (const bar of byId("score-chart").querySelectorAll(".bar")) {
    const at = Number(bar.dataset.low);
    bar.classList.toggle("off", at < low || at >= high);
  }
}

function folderGroup() {
  const clear = button("All", () => go({ folder: null, image: null }), { id: "clear-folder", className: "quiet" });
  clear.setAttribute("aria-label", "All folders");
  const choose = button("Choose…", () => go({ view: "folders", image: null }), { className: "small" });
  choose.setAttribute("aria-label", "Choose a folder");
  return group(
    "Folder",
    element(
      "div",
      { className: "folder-filter" },
      element("bdi", { id: "filter-folder", className: "folder-words" }),
      clear,
      choose,
    ),
  );
}

function pictureGroup({ total }) {
  const box = element("input", { type: "checkbox", id: "one-per-picture" });
  box.addEventListener("change", () => go({ one: box.checked, image: null }));
  return group(
    "Near-duplicates",
    element(
      "label",
      { className: "check" },
      box,
      element("span", { textContent: "one image of each picture" }),
      element("span", { className: "count", textContent: number(total) }),
    ),
  );
}

function errorGroup(errors) {
  const select = element(
    "select",
    { id: "filter-error", aria: { label: "Error" } },
    element("option", { value: "", textContent: "Any, or none" }),
  );
  for (const { code, rows } of errors)
    select.append(element("option", { value: code, textContent: `${code} (${number(rows)})` }));
  select.addEventListener("change", () => go({ error: select.value || null, image: null }));
  return group("Error", select);
}

/** The filters in use, each with a way to take it away. */
function chips(now) {
  const found = [];
  const add = (words, changes) =>
    found.push(button(words, () => go({ ...changes, image: null }), { className: "chip" }));
  for (const name of now.verdict) add(verdictName(name), { verdict: now.verdict.filter((one) => one !== name) });
  if (now.score[0] > 0 || now.score[1] < 100)
    add(`Score ${now.score[0] / 100}–${now.score[1] / 100}`, { score: [0, 100] });
  if (now.folder != null) add(plain(shortPath(now.folder)), { folder: null });
  if (now.error) add(plain(now.error), { error: null });
  if (now.one) add("one image of each picture", { one: false });
  if (now.picture) add(`the picture of row ${number(now.picture.rowId)}`, { picture: null });
  for (const kind of ["words", "flags"]) {
    for (const name of now[kind]) {
      const known = report.data[kind].find((one) => one.name === name);
      add(plain(known?.label ?? name), { [kind]: now[kind].filter((one) => one !== name) });
    }
  }
  for (const name of now.origin)
    add(`Says: ${plain(originLabel(name))}`, { origin: now.origin.filter((one) => one !== name) });
  for (const chip of found) chip.setAttribute("aria-label", `Without the filter ${chip.textContent}`);
  return found;
}
