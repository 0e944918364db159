// The drill-down of a report: loads report.json, and shows the view that the address names.

import { hashOf, listenForAddress, onState, state } from "./address.js";
import { byId, showError, showProblem } from "./dom.js";
import { listenForKeys } from "./keys.js";
import { loadReport, report } from "./model/report.js";
import { blurred, listenForBlur } from "./settings.js";
import { drawGallery, listenForGallery } from "./views/gallery.js";
import { drawImage, listenForImage } from "./views/image.js";

// Views that are read are loaded when they are first opened: a first view is few requests.
const DRAW = {
  overview: async (...now) => (await import("./views/overview.js")).drawOverview(...now),
  images: drawGallery,
  folders: async (...now) => (await import("./views/folders.js")).drawFolders(...now),
  errors: async (...now) => (await import("./views/errors.js")).drawErrors(...now),
  review: async (...now) => (await import("./views/review.js")).drawReview(...now),
};
const TITLES = { overview: "Overview", images: "Images", folders: "Folders", errors: "Errors", review: "Review" };

async function draw(now, before) {
  const { view } = now;
  showProblem("");
  document.body.dataset.view = view;
  for (const name of Object.keys(DRAW)) byId(`view-${name}`).hidden = name !== view;
  for (const link of byId("views").children) {
    const here = link.hash === `#${view}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${TITLES[view]} · fakescan`;
  if (before && before.view !== view) byId("main").scrollTop = 0;
  try {
    await DRAW[view](now, before);
    if (now !== state()) return; // The reader has gone on meanwhile.
    await drawImage(now);
  } catch (error) {
    showError(error);
  }
}

async function start() {
  byId("reload").addEventListener("click", () => location.reload());
  try {
    await loadReport();
  } catch (error) {
    byId("starting").hidden = true;
    if (error.status === 404)
      showProblem(
        "There is no report.json beside this page: `fakescan report` writes it last, and may still be at work.",
      );
    else showError(error);
    return;
  }
  byId("starting").hidden = true;
  for (const name of ["views", "blur", "open-keys"]) byId(name).hidden = false;
  const { errors } = report.data.totals;
  byId("views").querySelector('[href="#errors"]').hidden = errors === 0;
  byId("views").querySelector('[href="#review"]').hidden = !report.data.view && !report.data.samples.length;
  listenForBlur();
  listenForGallery();
  listenForImage();
  byId("open-keep").addEventListener("click", async () => (await import("./views/keep_list.js")).openKeepList());
  listenForKeys();
  listenForAddress();
  onState(draw);
  if (!location.hash) history.replaceState(null, "", hashOf(state()));
  blurred();
  await draw(state());
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // The address is the state of the page.
  byId("main").focus();
});

start();
