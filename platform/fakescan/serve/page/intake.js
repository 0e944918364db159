// Takes images in: chosen, dropped, pasted; the same file once; and says in words what it cannot take.

import { announce, byId, counted, setText, visible } from "./dom.js";
import { change, items, newItem, pageChanged, show } from "./items.js";
import { forget, newCard, pointOut } from "./gallery.js";
import { onSame, pump, retry } from "./queue.js";

const ADDRESS = /^\s*((https?|ftp|file):\/\/|www\.|[\w-]+(\.[\w-]+)*\.[a-z]{2,}\/)\S+\s*$/i;
const DATA_URI = /^\s*data:image\/[\w.+-]+;base64,[A-Za-z0-9+/=\s]+$/i;

let pasted = 0;
let doubles = [];
let leftOut = 0; // Files of a dropped folder that are no images.

function add(files, others = 0) {
  const without = others ? ` ${counted(others, "other file")} ${others === 1 ? "was" : "were"} left out.` : "";
  if (!files.length) return setText(byId("warning"), `There is no image in what was dropped.${without}`);
  setText(byId("warning"), "");
  doubles = [];
  leftOut = others;
  remark();
  document.querySelector("[name=filter][value=all]").checked = true; // Else the new ones would be hidden.
  const added = [...files].map(take).filter(Boolean);
  if (added.length > 1) announce(`${counted(added.length, "image")} added.`);
  pageChanged();
  added[0]?.card.scrollIntoView({ block: "nearest" });
  pump();
}

/** The item that a file becomes; null for one that is here already. */
function take(file) {
  const twin = items.find((item) => item.file && sameFile(item.file, file));
  if (twin) return met(file.name, twin);
  const cutOff = items.find((item) => !item.file && !item.sha256 && item.name === file.name && item.size === file.size);
  if (cutOff) return giveFile(cutOff, file, URL.createObjectURL(file));
  const item = newItem({ file, name: file.name, size: file.size, picture: URL.createObjectURL(file) });
  newCard(item);
  items.push(item);
  show(item);
  return item;
}

const sameFile = (one, other) =>
  one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;

/** A file came a second time: say so, and where its first coming failed, try again. */
function met(name, twin) {
  doubles.push(visible(name) + (name === twin.name ? " is here already" : ` is here already, as ${visible(twin.name)}`));
  remark();
  if (twin.problem?.again) retry(twin);
  pointOut(twin);
  return null;
}

function remark() {
  const same = doubles.length > 1 ? `${doubles.length} of these files are here already` : doubles[0];
  const others = `${counted(leftOut, "file")} in the folder ${leftOut === 1 ? "is no image and was" : "are no images and were"} left out.`;
  setText(byId("remark"), [same && `${same}; each is judged once.`, leftOut && others].filter(Boolean).join(" "));
}

/** An image whose result alone was kept has its file again; where there is no whole answer, it is judged now. */
function giveFile(item, file, picture) {
  change(item, { file, picture, size: file.size });
  if (item.state === "failed") retry(item);
  pointOut(item);
  return null;
}

// The bytes decide: a copy by another name is the same image, and a result kept over a reload gets its picture back.
onSame((item, twin) => {
  if (!twin.file) {
    const { file, picture } = item;
    item.picture = "";
    giveFile(twin, file, picture);
  } else {
    met(item.name, twin);
  }
  forget(item);
  pageChanged();
});

// ---- Drop -----------------------------------------------------------------------------------------------------------

const BY_PATH = new Intl.Collator("en", { numeric: true }); // 2.jpg before 10.jpg.
const UNTYPED = /\.(heic|heif|avif|tiff?)$/i; // Images whose type not every browser knows.

const carries = (event, type) => event.dataTransfer?.types.includes(type);
const carriesFiles = (event) => carries(event, "Files");

async function drop(event) {
  document.body.classList.remove("dropping");
  if (!carriesFiles(event)) {
    const address = event.dataTransfer?.getData("text/uri-list") || event.dataTransfer?.getData("text/plain") || "";
    if (ADDRESS.test(address.split("\n")[0]) && !isField(event.target)) {
      event.preventDefault();
      refuseAddress();
    }
    return;
  }
  event.preventDefault();
  // Both must be read before the first await: afterwards the browser has emptied the event.
  const files = [...event.dataTransfer.files];
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return add(files);
  try {
    const found = (await Promise.all(entries.filter(Boolean).map((entry) => filesBelow(entry)))).flat();
    found.sort((one, other) => BY_PATH.compare(one.path, other.path));
    const images = found.filter(({ isTaken }) => isTaken).map(({ file }) => file);
    add(images, found.length - images.length);
  } catch (error) {
    setText(byId("warning"), `What was dropped cannot be read: ${error.message}`);
  }
}

/** The files of a dropped folder, and of the folders in it: images are taken, and a file that was itself dropped as it is. */
async function filesBelow(entry, dropped = true) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: entry.fullPath, isTaken: dropped || file.type.startsWith("image/") || UNTYPED.test(file.name) }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader hands out a hundred entries at a time, and none at the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const inner of entries) found.push(...(await filesBelow(inner, false)));
  }
}

function drag(event) {
  if (!carriesFiles(event) && !(carries(event, "text/uri-list") && !isField(event.target))) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.toggle("dropping", carriesFiles(event));
}

// ---- Paste ----------------------------------------------------------------------------------------------------------

const isField = (target) => Boolean(target?.closest?.("input:not([type=file], [type=radio], [type=range]), textarea"));

async function paste(event) {
  const files = [...event.clipboardData.files];
  if (files.length) {
    event.preventDefault();
    // Browsers call every pasted picture image.png.
    return add(files.map((file) => (file.name === "image.png" ? new File([file], `pasted-${++pasted}.png`, file) : file)));
  }
  const text = event.clipboardData.getData("text/plain");
  if (!text || isField(event.target)) return;
  if (DATA_URI.test(text)) return add([fileOf(text)]);
  if (ADDRESS.test(text)) return refuseAddress();
  setText(byId("warning"), "What was pasted is text. Copy the picture itself, or save it and choose the file.");
}

function fileOf(uri) {
  const [head, data] = uri.trim().split(",", 2);
  const bytes = Uint8Array.from(atob(data.replace(/\s/g, "")), (character) => character.charCodeAt(0));
  const type = head.slice(5).split(";")[0].toLowerCase();
  return new File([bytes], `pasted-${++pasted}.${type.slice(6).replace("jpeg", "jpg")}`, { type });
}

function refuseAddress() {
  setText(
    byId("warning"),
    "That is an address, and this server fetches nothing from the web. Copy the picture itself and paste it, or save it and choose the file.",
  );
}

export function listenForImages() {
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", () => {
    add(byId("files").files);
    byId("files").value = ""; // Choosing the same file again is a change then.
  });
  document.addEventListener("paste", paste);
  document.addEventListener("drop", drop);
  document.addEventListener("dragover", drag);
  document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
}
