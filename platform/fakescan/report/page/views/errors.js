// Errors, grouped by their code and by what they say.

import { imagesHash } from "../address.js";
import { byId, counted, element, number, percent, plain } from "../dom.js";
import { report } from "../model/report.js";

export function drawErrors() {
  const body = byId("errors");
  if (body.childElementCount) return;
  const { errors, totals, run } = report.data;
  body.append(
    element("p", {
      textContent: errors.length
        ? `${counted(totals.errors, "image")} of ${number(totals.rows)} (${percent(totals.errors / totals.rows)}) could not be fetched, read or judged. They count neither as real nor as fake.`
        : "Every image has a verdict.",
    }),
  );
  if (errors.length)
    body.append(
      element(
        "p",
        { className: "fine" },
        "To scan them again, with the same settings: ",
        element("code", { textContent: `fakescan scan … --retry-errors` }),
        run.source ? "; see docs/scan.md." : "",
      ),
    );
  for (const error of errors) body.append(group(error));
  for (const { name, reason, rows } of run.unreadable ?? [])
    body.append(
      element("p", {
        className: "caution",
        textContent: `${plain(name)}: ${plain(reason)} (${number(rows)} rows are in none of the numbers)`,
      }),
    );
}

function group({ code, rows, messages, other_messages: others }) {
  const list = element("ul", { className: "messages" });
  for (const { message, rows: count, uri } of messages) {
    list.append(
      element(
        "li",
        {},
        element("span", { className: "count", textContent: number(count) }),
        element(
          "div",
          {},
          element("p", { className: "message", textContent: plain(message) || "no message" }),
          uri ? element("p", { className: "fine" }, "such as ", element("bdi", { textContent: plain(uri) })) : null,
        ),
      ),
    );
  }
  if (others)
    list.append(
      element(
        "li",
        {},
        element("span", { className: "count", textContent: number(others) }),
        element("p", { className: "fine", textContent: "with other messages" }),
      ),
    );
  return element(
    "section",
    { className: "block error" },
    element(
      "h2",
      {},
      element("a", { href: imagesHash({ error: code }), textContent: plain(code) }),
      element("span", { className: "count", textContent: counted(rows, "image") }),
    ),
    list,
  );
}
