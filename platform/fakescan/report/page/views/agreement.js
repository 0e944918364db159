// How far reviewers agree on the images that they have in common.

import { counted, element, number, percent, plain } from "../dom.js";
import { agreement, loadSample, selfAgreement } from "../model/labels.js";
import { report } from "../model/report.js";

/** Over the samples of all designs. */
export async function agreementOfAll() {
  const images = new Set();
  for (const { design } of report.data.samples)
    for (const { sha256 } of (await loadSample(design)).items) images.add(sha256);
  return agreementWords([...images]);
}

/** Over images by their SHA-256. */
export function agreementWords(images) {
  const pairs = agreement(images);
  const selves = selfAgreement(images);
  if (!pairs.length && !selves.length)
    return [
      element("p", {
        className: "fine",
        textContent: "As soon as two people have reviewed the same images, the page says how far they agree.",
      }),
    ];
  const list = element("ul", { className: "plain" });
  const add = (who, { images: count, agreed, kappa }) =>
    list.append(
      element("li", {
        textContent: `${who}: the same on ${number(agreed)} of ${counted(count, "image")} (${percent(agreed / count)}); ${beyond(kappa)}`,
      }),
    );
  for (const pair of pairs) add(`${plain(pair.first)} and ${plain(pair.second)}`, pair);
  for (const own of selves) add(`${plain(own.reviewer)}, at a second look`, own);
  return [element("h2", { textContent: "Agreement" }), list];
}

const beyond = (kappa) =>
  Number.isNaN(kappa)
    ? "kappa is not defined, as all labels are the same"
    : `kappa ${kappa.toFixed(2)}, ${strength(kappa)}`;

/** The words of Landis and Koch (1977). */
const strength = (kappa) =>
  ["poor", "slight", "fair", "moderate", "substantial", "almost perfect"][
    [0, 0.2, 0.4, 0.6, 0.8].filter((limit) => kappa > limit).length
  ];
