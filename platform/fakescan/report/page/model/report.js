// What the report says of itself: report.json, and the tables beside it.

import { FetchError, ParquetTable } from "./parquet.js";

/** `data` is report.json; `rows`, `facets` and `thumbs` are its tables. */
export const report = { data: null, rows: null, facets: null, thumbs: null };

export async function loadReport() {
  const answer = await fetch("report.json", { cache: "no-cache" }).catch(() => null);
  if (!answer?.ok) throw new FetchError("report.json", answer?.status ?? 0);
  const data = await answer.json();
  if (data.format !== "fakescan-report-1")
    throw new Error(`this page reads fakescan-report-1, and report.json is ${data.format}`);
  report.data = data;
  for (const name of ["rows", "thumbs"]) report[name] = new ParquetTable(data.data, data[name]);
  report.facets = new ParquetTable(data.data, data.facets, { isReadOnce: true }); // Whole columns, which are kept.
}

const OUTCOMES = ["real", "fake", "uncertain", "error"];

/** The shape and colour of a verdict: a model that knows no generator calls nothing real. */
export function outcomeOf(verdict) {
  const { meaning } = report.data.run;
  if (verdict == null) return "error";
  if (meaning === "none") return "nothing";
  return verdict === "real" && meaning === "forgeries" ? "unfound" : verdict;
}

/** What a verdict, or the lack of one, is called. */
export function verdictName(verdict, { capital = true } = {}) {
  const given = report.data.run.names?.[verdict ?? "error"] ?? verdict ?? "no verdict";
  const name = verdict == null || verdict === "error" ? "error" : given;
  return capital ? name[0].toUpperCase() + name.slice(1) : name;
}

export const rowsOf = (verdict) => report.data.totals[verdict === "error" ? "errors" : verdict];

export const outcomes = () => OUTCOMES;
