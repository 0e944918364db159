// Charts, drawn as SVG.

import { imagesHash } from "../address.js";
import { element, number, svg } from "../dom.js";
import { report } from "../model/report.js";

const [WIDTH, HEIGHT] = [200, 46];

/** How many images have which score; a square root, so that the few fakes are seen beside the many others. */
export function histogram({ bars = 50, links = false } = {}) {
  const { at_least: atLeast } = report.data.scores;
  const step = 100 / bars;
  const counts = Array.from(
    { length: bars },
    (_, bar) => atLeast[bar * step] - (bar === bars - 1 ? 0 : atLeast[(bar + 1) * step]),
  );
  const most = Math.sqrt(Math.max(1, ...counts));
  const picture = svg("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    class: "histogram",
    "aria-hidden": "true",
  });
  counts.forEach((count, bar) => {
    const height = count ? Math.max(1, (Math.sqrt(count) / most) * HEIGHT) : 0;
    const low = bar * step;
    const side = low / 100 >= report.data.run.threshold ? "fake" : "other";
    const made = svg("rect", {
      class: `bar ${side}`,
      x: (bar * WIDTH) / bars + 0.3,
      width: WIDTH / bars - 0.6,
      y: HEIGHT - height,
      height,
      "data-low": low,
    });
    made.append(svg("title", {}, `${number(count)} from ${low / 100} to ${(low + step) / 100}`));
    picture.append(made);
  });
  return links ? element("figure", { className: "chart" }, picture, bands()) : picture;
}

/** The ten bands of the score, as links to their images. */
function bands() {
  const list = element("ol", { className: "bands", aria: { label: "Images by score" } });
  report.data.scores.bands.forEach(({ low, high, rows }) => {
    const [from, to] = [Math.round(low * 100), Math.round(high * 100)];
    const link = element(
      "a",
      { href: imagesHash({ score: [from, to] }) },
      element("span", { className: "band-name", textContent: `${low}–${high}` }),
      element("span", { textContent: short(rows) }),
    );
    link.setAttribute("aria-label", `${number(rows)} images with a score from ${low} to ${high}`);
    list.append(element("li", {}, link));
  });
  return list;
}

export const short = (count) =>
  new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(count);

/** A share with its interval, on a line from 0 to `most`. */
export function shareBar({ low, high, shrunk, shrunken = shrunk }, most) {
  const made = element("span", { className: "share-bar", aria: { hidden: true } });
  const at = (share) => `${Math.min(1, share / most) * 100}%`;
  const range = element("span", { className: "share-range" });
  range.style.left = at(low);
  range.style.right = `${100 - Math.min(1, high / most) * 100}%`;
  const mark = element("span", { className: "share-mark" });
  mark.style.left = at(shrunken);
  made.append(range, mark);
  return made;
}
