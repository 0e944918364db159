// What files say of their own origin: the report's names, and their numbers in the facets.

import { report } from "./report.js";

/** Those that some file says, in their order. */
export const origins = () => (report.data.provenance?.origins ?? []).filter(({ rows }) => rows);

const numberOf = (name) => origins().find((one) => one.name === name)?.number ?? 31;

/** A bit for each of some origins. */
export const originMask = (names) => names.reduce((mask, name) => mask | (1 << numberOf(name)), 0);

/** What an origin is called. */
export const originLabel = (name) => origins().find((one) => one.name === name)?.label ?? name;
