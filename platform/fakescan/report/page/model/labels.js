// Labels that reviewers give: `fakescan view` writes them beside the run, by the image's SHA-256.

import { report } from "./report.js";

/** `byImage`: sha256 to a map of reviewer to { label, at }, and `again` of what they said at a second look; `agreed`: what
 * a report without `view` says, by sha256. */
export const labels = { byImage: null, again: new Map(), agreed: null };

const api = () => report.data.view?.api;

export const canLabel = () => Boolean(report.data.view?.can_label);

async function call(path, options) {
  const answer = await fetch(api() + path, options).catch(() => null);
  if (!answer) throw new Error("fakescan view does not answer: is it still running?");
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error?.message ?? `HTTP ${answer.status}`);
  return body;
}

export async function loadLabels() {
  const found = await call("labels");
  const byReviewer = (look) =>
    new Map(
      Object.entries(found.labels).map(([sha256, given]) => [
        sha256,
        new Map(given.filter(look).map((one) => [one.reviewer, one])),
      ]),
    );
  labels.byImage = byReviewer((one) => !one.second_look);
  labels.again = byReviewer((one) => one.second_look);
}

/** What reviewers said, wherever this report has it; none is no fault of the image that is looked at. */
export async function knowLabels() {
  try {
    if (canLabel()) return labels.byImage || (await loadLabels());
    const { labels: file } = report.data;
    if (file && !labels.agreed) labels.agreed = await (await fetch(file.name)).json();
  } catch (error) {
    console.info(error);
  }
}

export const loadSample = (design) => call(`sample/${encodeURIComponent(design)}`);

export const labelOf = (sha256, reviewer) => labels.byImage?.get(sha256)?.get(reviewer);

export const secondLookOf = (sha256, reviewer) => labels.again.get(sha256)?.get(reviewer);

export async function giveLabel(label) {
  const { label: written } = await call("labels", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(label),
  });
  const looks = label.second_look ? labels.again : labels.byImage;
  if (!looks.has(label.sha256)) looks.set(label.sha256, new Map());
  looks.get(label.sha256).set(label.reviewer, written ?? label);
}

export async function takeBack(sha256, reviewer) {
  await call(`labels/${sha256}?reviewer=${encodeURIComponent(reviewer)}`, { method: "DELETE" });
  if (!labels.again.get(sha256)?.delete(reviewer)) labels.byImage.get(sha256)?.delete(reviewer);
}

/** How each pair of reviewers agrees on the images that both have labelled: [{ first, second, images, agreed, kappa }]. */
export function agreement(images) {
  const chosen = images.map((sha256) => labels.byImage.get(sha256)).filter((given) => given?.size > 1);
  const names = [...new Set(chosen.flatMap((given) => [...given.keys()]))].sort();
  const pairs = names.flatMap((first, place) => names.slice(place + 1).map((second) => [first, second]));
  return pairs
    .map(([first, second]) => {
      const both = chosen
        .filter((given) => given.has(first) && given.has(second))
        .map((given) => [given.get(first).label, given.get(second).label]);
      return {
        first,
        second,
        images: both.length,
        agreed: both.filter(([one, other]) => one === other).length,
        kappa: kappa(both),
      };
    })
    .filter((pair) => pair.images);
}

/** How each reviewer agrees with what the same reviewer said before: [{ reviewer, images, agreed, kappa }]. */
export function selfAgreement(images) {
  const both = new Map(); // reviewer to pairs of labels
  for (const sha256 of images) {
    for (const [reviewer, { label }] of labels.again.get(sha256) ?? []) {
      const first = labelOf(sha256, reviewer);
      if (!first) continue;
      if (!both.has(reviewer)) both.set(reviewer, []);
      both.get(reviewer).push([first.label, label]);
    }
  }
  return [...both].sort().map(([reviewer, pairs]) => ({
    reviewer,
    images: pairs.length,
    agreed: pairs.filter(([one, other]) => one === other).length,
    kappa: kappa(pairs),
  }));
}

/** Cohen's kappa (1960), as `fakescan review status` computes it; NaN where both give all one label. */
export function kappa(pairs) {
  const share = (side, label) => pairs.filter((pair) => pair[side] === label).length / pairs.length;
  const agreed = pairs.filter(([one, other]) => one === other).length / pairs.length;
  const chance = ["real", "fake", "unsure"].reduce((sum, label) => sum + share(0, label) * share(1, label), 0);
  return chance < 1 ? (agreed - chance) / (1 - chance) : NaN;
}
