// What files say of their own origin, and how often the verdict is wrong where a trusted signer says what is right.

import { imagesHash } from "../address.js";
import { counted, element, number, percent, plain } from "../dom.js";
import { origins } from "../model/origins.js";
import { report, verdictName } from "../model/report.js";

const OUTCOMES = ["fake", "uncertain", "real"];

/** A section of the overview; none where no file says anything. */
export function originBlock() {
  const found = report.data.provenance;
  if (!found || !origins().some(({ name }) => name !== "none" && name !== "unread")) return [];
  const block = element(
    "section",
    { className: "block" },
    element("h2", { textContent: "What files say of their origin" }),
    element("p", {
      className: "fine",
      textContent: `${counted(found.read, "file was", "files were")} read for it. Only a trusted signer is evidence; whatever else a file says, anybody can have written. A file that says nothing is no sign of anything.`,
    }),
    table("The file says", origins(), { trusted: true }),
  );
  if (found.cross.length)
    block.append(
      element("h3", { textContent: "Verdicts against trusted signatures" }),
      ...rates(found),
      table("A trusted signer says", found.cross, { flags: ["trusted"] }),
    );
  for (const words of found.notes) block.append(element("p", { className: "fine", textContent: plain(words) }));
  return [block];
}

function rates({ misses, false_alarms: alarms }) {
  const words = (before, { wrong, judged, share }, between, called, filter) =>
    element(
      "p",
      {},
      `${before}: of ${counted(judged, "image")} ${between}, `,
      element("a", { href: imagesHash({ ...filter, flags: ["trusted"] }), textContent: `${number(wrong)} ${wrong === 1 ? "was" : "were"} called ${called}` }),
      `: ${percent(share.value)} (95\u00a0%: ${percent(share.low)} to ${percent(share.high)}).`,
    );
  const name = (verdict) => verdictName(verdict, { capital: false });
  return [
    misses &&
      words("Missed", misses, "that a trusted signer calls AI-generated", name("real"), {
        origin: ["ai_generated"],
        verdict: ["real"],
      }),
    alarms &&
      words("False alarms", alarms, "that a trusted signer’s camera has taken", name("fake"), {
        origin: ["captured"],
        verdict: ["fake"],
      }),
  ].filter(Boolean);
}

function table(title, rows, { trusted = false, flags = [] }) {
  const head = [title, "Images", ...(trusted ? ["By a trusted signer"] : []), ...OUTCOMES.map((name) => verdictName(name)), "Errors"];
  const body = element("tbody");
  for (const row of rows) {
    const cell = (count, filter) =>
      element(
        "td",
        {},
        count ? element("a", { href: imagesHash({ origin: [row.name], flags, ...filter }), textContent: number(count) }) : "0",
      );
    body.append(
      element(
        "tr",
        {},
        element("th", { scope: "row", textContent: plain(row.label) }),
        cell(row.rows, {}),
        trusted ? cell(row.trusted, { flags: ["trusted"] }) : null,
        ...OUTCOMES.map((name) => cell(row[name], { verdict: [name] })),
        cell(row.errors, { verdict: ["error"] }),
      ),
    );
  }
  const columns = element("tr");
  for (const words of head) columns.append(element("th", { scope: "col", textContent: words }));
  return element(
    "div",
    { className: "origins", tabIndex: 0, role: "region", aria: { label: title } },
    element("table", {}, element("thead", {}, columns), body),
  );
}
