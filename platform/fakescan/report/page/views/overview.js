// How bad, where, and what to do now, each with a way into the images.

import { hashOf, imagesHash } from "../address.js";
import { button, byId, copyButton, counted, element, icon, number, percent, plain } from "../dom.js";
import { outcomeOf, outcomes, report, rowsOf, verdictName } from "../model/report.js";
import { shellWord } from "../model/shell.js";
import { histogram } from "./charts.js";
import { folderTable } from "./folders.js";
import { openKeepList } from "./keep_list.js";
import { originBlock } from "./origins.js";

const WORST = 10;

export function drawOverview() {
  const { run, prevalence, totals, folders, errors } = report.data;
  byId("overview-title").textContent =
    `${counted(totals.rows, "image")}, ${number(totals.fake)} called ${verdictName("fake", { capital: false })}`;
  if (byId("overview").childElementCount) return;
  byId("overview").append(
    lead(run, prevalence),
    tiles(),
    ...pictures(),
    ...stability(),
    section(
      "Scores",
      element("p", {
        className: "fine",
        textContent: `${run.score_meaning ?? ""} Heights are square roots, so that few are seen beside many.`,
      }),
      histogram({ bars: 50, links: true }),
    ),
    section(
      "Worst folders",
      element("p", {
        className: "fine",
        textContent: "By the lower end of the interval of their share: three of three images do not lead.",
      }),
      folderTable(folders.worst.slice(0, WORST)),
      element("p", {}, element("a", { href: hashOf({ view: "folders" }), textContent: "All folders" })),
    ),
    ...originBlock(),
    whatNow(run),
    ...(errors.length ? [section("Images without a verdict", errorList(errors))] : []),
    limits(run),
  );
}

const section = (title, ...children) =>
  element("section", { className: "block" }, element("h2", { textContent: title }), ...children);

/** How many pictures the images are. */
function pictures() {
  const { pictures: found, no_pictures: why, totals } = report.data;
  if (!found)
    return why ? [element("p", { className: "fine", textContent: `How many pictures these are is not known: ${why}` })] : [];
  const flagged = found.images.fake
    ? [
        `The ${counted(found.images.fake, "image")} called ${verdictName("fake", { capital: false })} are `,
        element("a", {
          href: imagesHash({ verdict: ["fake"], one: true }),
          textContent: counted(found.pictures.fake, "picture"),
        }),
        "; ",
      ]
    : [];
  return [
    element(
      "p",
      { className: "pictures" },
      ...flagged,
      `${flagged.length ? "all" : "The"} ${number(totals.judged)} with a verdict are `,
      element("a", { href: imagesHash({ one: true, sort: "copies" }), textContent: counted(found.total, "picture") }),
      ". Copies in another size, format or quality are one picture.",
    ),
  ];
}

/** Whether the verdicts hold, of a scan with a stability strip. */
function stability() {
  const { strip } = report.data;
  if (!strip?.looked) return [];
  const failed = strip.variants.reduce((sum, variant) => sum + variant.failed, 0);
  return [
    element(
      "p",
      { className: "pictures" },
      `${counted(strip.looked, "image")} were judged again, changed as pictures are on their way through the web. The verdict of `,
      element("a", { href: imagesHash({ flags: ["unstable"], sort: "spread" }), textContent: number(strip.changes) }),
      ` does not hold.${failed ? ` ${counted(failed, "changed image")} could not be judged.` : ""}`,
    ),
  ];
}

function lead(run, { statement, notes = [], by_picture: byPicture }) {
  const made = element("div", { className: "lead" }, element("p", { className: "statement", textContent: statement }));
  if (byPicture) made.append(element("p", { textContent: byPicture.statement }));
  for (const words of notes) made.append(element("p", { className: "fine", textContent: words }));
  const facts = [
    `Run ${plain(run.run_id)}`,
    `model ${plain(run.model)}`,
    run.is_finished ? null : `${number(run.rows - run.done)} images not scanned yet`,
  ];
  made.append(element("p", { className: "fine", textContent: facts.filter(Boolean).join(" · ") }));
  if (run.warning) made.append(element("p", { className: "caution", textContent: run.warning }));
  for (const words of run.cautions ?? []) made.append(element("p", { className: "caution", textContent: words }));
  return made;
}

function tiles() {
  const { rows } = report.data.totals;
  const list = element("ul", { className: "tiles" });
  for (const name of outcomes()) {
    const count = rowsOf(name);
    const verdict = name === "error" ? null : name;
    if (!count && name !== "fake") continue;
    const words = element(
      "span",
      {},
      element("strong", { textContent: number(count) }),
      element("span", { textContent: name === "error" ? "without a verdict" : verdictName(name, { capital: false }) }),
    );
    const link = element(
      "a",
      { href: imagesHash({ verdict: [name] }), className: "tile", dataset: { outcome: outcomeOf(verdict) } },
      icon(outcomeOf(verdict)),
      words,
      element("span", { className: "share", textContent: percent(count / rows) }),
    );
    list.append(element("li", {}, link));
  }
  return list;
}

function whatNow(run) {
  const command = `fakescan filter ${shellWord(run.url)} --drop fake -o keep.parquet`;
  return section(
    "What to do now",
    element(
      "ol",
      { className: "steps" },
      element(
        "li",
        {},
        "Look at ",
        element("a", { href: imagesHash({ verdict: ["fake"] }), textContent: "what was flagged" }),
        ", worst first, and at ",
        element("a", { href: hashOf({ view: "folders" }), textContent: "the folders" }),
        " it comes from.",
      ),
      element(
        "li",
        {},
        "Have a sample reviewed, so that the share gets an interval: ",
        code(`fakescan review sample ${shellWord(run.url)} -n 500`),
      ),
      element("li", {}, "Write the list of what to keep: ", code(command)),
    ),
    button("Export a keep-list…", () => openKeepList(), { className: "primary" }),
  );
}

const code = (text) =>
  element(
    "span",
    { className: "command" },
    element("code", { textContent: text }),
    copyButton("Copy", text, `Copy: ${text}`),
  );

function errorList(errors) {
  const list = element("ul", { className: "plain" });
  for (const { code: name, rows } of errors)
    list.append(
      element(
        "li",
        {},
        element("a", { href: imagesHash({ error: name }), textContent: plain(name) }),
        ` ${number(rows)}`,
      ),
    );
  return list;
}

function limits(run) {
  const list = element("ul", { className: "limits" });
  for (const words of [...(run.limits ?? []), ...(run.notes ?? [])]) list.append(element("li", { textContent: words }));
  return section(
    "What a verdict is not",
    list,
    element(
      "p",
      {},
      element("a", { href: "report.html", textContent: "The overview as one file" }),
      " to send on: it opens without a server.",
    ),
  );
}
