// The page of `fakescan serve`: opens its parts, and shows what the server says of itself.

import { byId, bytes, megapixels, sentence, setText } from "./dom.js";
import { everythingChanged, items, show } from "./items.js";
import { listenForExport } from "./casefile.js";
import { listenForGallery, newCard, onOpen as onOpenCard } from "./gallery.js";
import { listenForImages } from "./intake.js";
import { keptItems, listenForKeeping, restoreSettings } from "./keep.js";
import { drawServerFacts, listenForLine, onOpen as onOpenTile } from "./line.js";
import { pump } from "./queue.js";
import { listenForReview } from "./review.js";
import { meet, server } from "./server.js";
import { listenForViewer, openView } from "./viewer.js";

function showFacts() {
  const { about } = server;
  document.body.dataset.meaning = about.meaning ?? "full";
  setText(byId("model"), `Model ${server.model}`);
  setText(byId("version"), `${about.name} ${about.version}`);
  setText(byId("notice"), sentence(about.notice ?? ""));
  setText(byId("score-meaning"), about.score_meaning ?? "How far an image is on the side of fake, from 0 to 1.");
  const formats = about.formats.join(", ").replace(/, ([^,]*)$/, " or $1");
  setText(byId("limits"), `${formats}; up to ${bytes(about.max_body_bytes)} and ${megapixels(about.max_pixels)} each.`);
  drawServerFacts();
  everythingChanged();
  pump();
}

restoreSettings();
listenForImages();
listenForGallery();
listenForLine();
listenForViewer();
listenForReview();
listenForExport();
onOpenCard(openView);
onOpenTile(openView);
for (const item of keptItems()) {
  items.push(item);
  newCard(item);
  show(item);
}
listenForKeeping();
meet(showFacts);
