// The tree of folders: at most some 20,000, read whole when first needed.

import { report } from "./report.js";
import { ParquetTable } from "./parquet.js";

const NAMES = [
  "id",
  "parent",
  "last",
  "depth",
  "name",
  "path",
  "rows",
  "real",
  "fake",
  "uncertain",
  "errors",
  "own_rows",
  "merged",
  "share",
  "shrunken",
  "shrunk",
  "low",
  "high",
];
let loading = null;
let finding = null;

/** All folders in the order of the tree, the base first. */
export function allFolders() {
  loading ??= rowsOf(NAMES);
  loading.catch(() => (loading = null));
  return loading;
}

/** The folders by their paths, with what a filter needs of them. */
function foldersByPath() {
  finding ??= rowsOf(["id", "last", "path"]).then((found) => new Map(found.map((folder) => [folder.path, folder])));
  finding.catch(() => (finding = null));
  return finding;
}

async function rowsOf(wanted) {
  const { folders, data } = report.data;
  const entry = {
    name: folders.name,
    first: 0,
    rows: folders.count,
    bytes: folders.bytes,
    footer_bytes: folders.footer_bytes,
  };
  const table = new ParquetTable(data, { files: [entry], count: folders.count, row_group_rows: folders.count });
  const columns = await table.read(wanted, 0, folders.count);
  const found = Array.from({ length: folders.count }, () => ({}));
  for (const [name, values] of Object.entries(columns)) for (let id = 0; id < found.length; id++) found[id][name] = values[id];
  return found;
}

/** A folder by its path; those of the first view need no file. */
export async function folderByPath(path) {
  const known = report.data.folders.worst.find((folder) => folder.path === path);
  return known?.last != null ? known : (await foldersByPath()).get(path);
}

/** Worst first: by the lower bound of the share, so that three of three do not lead. The base is all of them, and a folder
 * whose images all are in one folder in it would be there twice. */
export const worstFirst = (folders, all = folders) => {
  const sameAsChild = new Set(all.filter(({ parent, rows }) => rows === all[parent]?.rows).map(({ parent }) => parent));
  return folders
    .filter(({ id }) => (id > 0 && !sameAsChild.has(id)) || all.length === 1)
    .toSorted((a, b) => (b.low ?? -1) - (a.low ?? -1) || b.fake - a.fake || a.id - b.id);
};

/** A path below the scan's base, which is the same for all; the base itself in full. */
export function shortPath(path) {
  const base = (report.data.folders.base ?? "").replace(/\/+$/, "");
  const trimmed = path.replace(/\/+$/, "");
  return (base && trimmed.startsWith(`${base}/`) ? trimmed.slice(base.length + 1) : trimmed) || base || "/";
}
