// A thumbnail in its place, blurred until asked, or why there is none.

import { element, icon, plain } from "../dom.js";
import { thumb, thumbOnDemand } from "../model/thumbs.js";
import { report } from "../model/report.js";

/** Fill `frame` with the thumbnail of a row; returns once it is there, or what stands in its place is. */
export async function showThumb(frame, row) {
  frame.replaceChildren(nothing("", "waiting"));
  const found = await addressOf(row).catch((error) => ({ words: error.message }));
  if (!found.url) return frame.replaceChildren(nothing(found.words));
  const image = element("img", { alt: "", decoding: "async", draggable: false });
  image.addEventListener("error", () => frame.replaceChildren(nothing("This browser cannot show it")), { once: true });
  image.src = found.url;
  frame.replaceChildren(image);
}

async function addressOf({ thumb: ordinal, row_id: rowId, error_code: code }) {
  if (ordinal != null) return thumb(ordinal);
  if (code) return { words: code };
  if (report.data.view) return thumbOnDemand(rowId);
  return { words: "No thumbnail" };
}

function nothing(words, state = "none") {
  return element(
    "span",
    { className: "no-picture", dataset: { state } },
    icon("picture"),
    element("span", { textContent: plain(words) }),
  );
}
