// The full view: one picture large, to zoom and move, with the square that the model saw; its answer and review beside it.

import { byId, element, setText, visible } from "./dom.js";
import { items, onItem, onPage } from "./items.js";
import { drawAnswer, drawDetails, drawSeen, noPictureWords } from "./card.js";
import { makeCurrent, neighbour, shownItems } from "./gallery.js";
import { server } from "./server.js";
import { chanceOf, hundredWords } from "./verdict.js";

const LARGEST = 32; // Screen pixels for one of the picture.
const STEP = 48; // Screen pixels that an arrow key moves.
const COARSE = 3; // From this zoom on, pixels are drawn as squares.

let viewed = null;
let opener = null; // What gets the focus back.
const view = { zoom: 1, x: 0, y: 0, fitted: true }; // Where the picture's upper left corner is on the stage, and its scale.
let size = { width: 1, height: 1 }; // Of the picture, in its own pixels.

export const isOpen = () => byId("viewer").open;
export const viewedItem = () => viewed;

export function openView(item) {
  if (!isOpen()) {
    opener = document.activeElement;
    byId("viewer").showModal();
    byId("stage").focus();
  }
  viewed = item;
  setEye(false);
  load();
  draw();
}

export function closeView() {
  byId("viewer").close();
}

export function openNext(by) {
  const next = neighbour(viewed, by);
  if (next && next !== viewed) openView(next);
}

function closed() {
  byId("big").removeAttribute("src");
  if (!viewed?.card.isConnected) return;
  makeCurrent(viewed);
  if (opener?.closest?.(".card") === viewed.card) opener.focus({ preventScroll: true });
}

function load() {
  const picture = byId("big");
  byId("sheet").hidden = true;
  const source = viewed.picture || viewed.preview;
  picture.alt = visible(viewed.name);
  setText(byId("stage-words"), source ? "" : `${noPictureWords(viewed)}.`);
  if (!source) return picture.removeAttribute("src");
  if (picture.getAttribute("src") !== source) picture.src = source;
  else shown();
}

function shown() {
  const picture = byId("big");
  if (!viewed || !picture.naturalWidth) return;
  // A small copy is shown at the size of its picture, so that the square lies right.
  const { width, height } = viewed.result ?? {};
  size = width && height ? { width, height } : { width: picture.naturalWidth, height: picture.naturalHeight };
  byId("sheet").hidden = false;
  setText(byId("stage-words"), viewed.picture ? "" : "Only this small preview was kept. Choose the same file again to see it in full.");
  zoomToFit();
  drawEye();
}

// ---- What is shown --------------------------------------------------------------------------------------------------

function draw() {
  if (!isOpen() || !viewed) return;
  if (!items.includes(viewed)) return closeView();
  const all = shownItems();
  const place = all.indexOf(viewed);
  setText(byId("viewer-name"), visible(viewed.name));
  byId("place").textContent = place < 0 ? "" : `${place + 1} of ${all.length}`;
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place === all.length - 1;
  drawAnswer(byId("viewer-answer"), viewed);
  drawDetails(byId("viewer-details"), viewed);
  drawSeen(byId("sheet").querySelector(".seen"), viewed);
  drawOdds();
  const { seen } = viewed.result ?? {};
  byId("show-seen").hidden = !seen || seen.share >= 0.995;
  byId("show-eye").hidden = !seen || !server.about?.image || !viewed.picture;
  for (const radio of document.getElementsByName("decision")) radio.checked = radio.value === viewed.decision;
  byId("undecide").hidden = !viewed.decision;
  if (document.activeElement !== byId("note") || byId("note").dataset.of !== viewed.id) byId("note").value = viewed.note;
  byId("note").dataset.of = viewed.id;
}

/** A hundred images with this score, and how many of them are fake. */
function drawOdds() {
  const chance = chanceOf(viewed);
  byId("odds").hidden = chance == null;
  if (chance == null) return;
  const dots = byId("odds").querySelector(".dots");
  if (!dots.children.length) dots.append(...Array.from({ length: 100 }, () => element("i")));
  const fakes = Math.round(chance * 100);
  [...dots.children].forEach((dot, number) => dot.classList.toggle("on", number < fakes));
  setText(byId("odds-words"), hundredWords(viewed, chance));
}

// ---- Zoom and move --------------------------------------------------------------------------------------------------

const stage = () => byId("stage").getBoundingClientRect();
const fitting = () => Math.min(stage().width / size.width, stage().height / size.height);
const smallest = () => Math.min(1, fitting());

export function zoomToFit() {
  const { width, height } = stage();
  view.zoom = Math.min(fitting(), COARSE);
  view.x = (width - size.width * view.zoom) / 2;
  view.y = (height - size.height * view.zoom) / 2;
  view.fitted = true;
  place();
}

/** Zoom by a factor; the point (x, y) of the stage stays where it is: its centre, unless it is given. */
export function zoomBy(factor, x = stage().width / 2, y = stage().height / 2) {
  const zoom = Math.min(LARGEST, Math.max(smallest(), view.zoom * factor));
  const by = zoom / view.zoom;
  view.x = x - (x - view.x) * by;
  view.y = y - (y - view.y) * by;
  view.zoom = zoom;
  view.fitted = false;
  place();
}

function moveBy(x, y) {
  view.x += x;
  view.y += y;
  view.fitted = false;
  place();
}

function place() {
  const { width, height } = stage();
  const [wide, high] = [size.width * view.zoom, size.height * view.zoom];
  // A picture smaller than the stage stands in its middle; a larger one leaves no gap.
  view.x = wide <= width ? (width - wide) / 2 : Math.min(0, Math.max(width - wide, view.x));
  view.y = high <= height ? (height - high) / 2 : Math.min(0, Math.max(height - high, view.y));
  const sheet = byId("sheet");
  sheet.style.width = `${size.width}px`;
  sheet.style.height = `${size.height}px`;
  sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
  sheet.style.setProperty("--hair", `${1 / view.zoom}px`);
  sheet.dataset.coarse = String(view.zoom >= COARSE);
  byId("zoom-words").textContent = `${Math.round(view.zoom * 100)} %`;
}

const pointers = new Map();

function down(event) {
  byId("stage").setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
}

/** One pointer moves the picture, two zoom it as well. */
function move(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
  const now = { x: event.clientX, y: event.clientY };
  if (other) {
    const far = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    const { left, top } = stage();
    zoomBy(far(now) / Math.max(1, far(before)), other.x - left, other.y - top);
  } else {
    moveBy(now.x - before.x, now.y - before.y);
  }
  pointers.set(event.pointerId, now);
}

const up = (event) => pointers.delete(event.pointerId);

function wheel(event) {
  event.preventDefault();
  const { left, top } = stage();
  zoomBy(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), event.clientX - left, event.clientY - top);
}

function twice(event) {
  const { left, top } = stage();
  if (view.fitted && fitting() < 1) zoomBy(1 / view.zoom, event.clientX - left, event.clientY - top);
  else if (view.fitted) zoomBy(4, event.clientX - left, event.clientY - top);
  else zoomToFit();
}

const ARROWS = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };

function arrow(event) {
  if (!ARROWS[event.key]) return;
  event.preventDefault();
  moveBy(...ARROWS[event.key]);
}

// ---- What the model saw ---------------------------------------------------------------------------------------------

export function seenToggle() {
  const pressed = byId("show-seen").getAttribute("aria-pressed") !== "true";
  byId("show-seen").setAttribute("aria-pressed", String(pressed));
  byId("viewer").dataset.seen = String(pressed);
}

export const eyeToggle = () => setEye(byId("show-eye").getAttribute("aria-pressed") !== "true");

function setEye(on) {
  byId("show-eye").setAttribute("aria-pressed", String(on));
  byId("eye").hidden = !on;
  const { width, height } = server.about?.image ?? {};
  if (viewed?.picture) setText(byId("stage-words"), on ? `The square in ${width} × ${height} pixels: all that the model gets.` : "");
  drawEye();
}

/** The square at the model's own resolution; the browser makes pictures smaller in nearly the same way. */
function drawEye() {
  const { seen } = viewed?.result ?? {};
  if (byId("eye").hidden || !seen || !server.about?.image || !byId("big").naturalWidth) return;
  const canvas = byId("eye");
  const { width, height } = server.about.image;
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(byId("big"), seen.left, seen.top, seen.width, seen.height, 0, 0, width, height);
  drawSeen(canvas, { result: { ...viewed.result, seen: { ...seen, share: 0 } } });
}

export function listenForViewer() {
  onItem((item) => item === viewed && draw());
  onPage(draw);
  byId("viewer-answer").append(byId("answer").content.cloneNode(true));
  byId("viewer").dataset.seen = "true";
  byId("viewer").addEventListener("close", closed);
  byId("big").addEventListener("load", shown);
  byId("big").addEventListener("error", () => byId("big").hasAttribute("src") && setText(byId("stage-words"), `${noPictureWords(viewed)}.`));
  byId("close-viewer").addEventListener("click", closeView);
  byId("previous").addEventListener("click", () => openNext(-1));
  byId("next").addEventListener("click", () => openNext(1));
  byId("zoom-in").addEventListener("click", () => zoomBy(1.5));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
  byId("zoom-fit").addEventListener("click", zoomToFit);
  byId("show-seen").addEventListener("click", seenToggle);
  byId("show-eye").addEventListener("click", eyeToggle);
  const target = byId("stage");
  target.addEventListener("wheel", wheel, { passive: false });
  target.addEventListener("pointerdown", down);
  target.addEventListener("pointermove", move);
  target.addEventListener("pointerup", up);
  target.addEventListener("pointercancel", up);
  target.addEventListener("dblclick", twice);
  target.addEventListener("keydown", arrow);
  new ResizeObserver(() => isOpen() && (view.fitted ? zoomToFit() : place())).observe(target);
}
