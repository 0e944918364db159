// Small copies of the images, for the line, the list, what is kept over a reload, and the case file.

import { change } from "./items.js";

const KEPT = 200; // Pixels of the longer side: a few kilobytes each, of the few megabytes that a browser keeps.

let last = Promise.resolve(); // One at a time: a picture of 50 megapixels takes 200 MB while it is made small.

/** Give an image its small copy, when the browser can show it at all. */
export function makePreview(item) {
  if (item.preview || !item.file) return;
  last = last.then(async () => {
    const preview = await smallCopy(item.file, KEPT);
    if (preview) change(item, { preview });
  });
}

/** A file's picture as a data: URL with its longer side at most `side` pixels; "" where the browser cannot read it. */
export async function smallCopy(file, side) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return "";
  }
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "white"; // JPEG has no transparency.
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.toDataURL("image/jpeg", 0.75);
}
