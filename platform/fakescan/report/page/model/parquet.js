// Parquet over range requests: few of them, since those that lie near to each other become one.

import { parquetMetadataAsync, parquetScan } from "../vendor/hyparquet.js";

const GAP_BYTES = 48 * 1024; // Less than what another request would cost.
const MOST_BYTES = 4 * 2 ** 20; // In one request, so that several run at once.
const CACHE_BYTES = 48 * 2 ** 20; // Of all files together.

/** What was learnt of the server: without ranges it sends whole files. */
export const server = { sendsWholeFiles: false };

/** A file that could not be fetched; `status` is 0 where no answer came. */
export class FetchError extends Error {
  constructor(url, status) {
    super(`${url.split("/").pop()} could not be fetched${status ? ` (HTTP ${status})` : ""}`);
    this.status = status;
  }
}

const cache = new Map(); // "url start" to { url, start, end, data }; the least recently used comes first.
let cached = 0;

function remember(block) {
  cache.set(`${block.url} ${block.start}`, block);
  cached += block.data.byteLength;
  for (const [key, old] of cache) {
    if (cached <= CACHE_BYTES || cache.size === 1) break;
    cache.delete(key);
    cached -= old.data.byteLength;
  }
}

/** Bytes of one file, as hyparquet asks for them. What is asked for at the same time is fetched together. `isReadOnce` says
 * that nothing is asked for twice. */
class RangeFile {
  constructor(url, byteLength, isReadOnce) {
    this.url = url;
    this.byteLength = byteLength;
    this.isReadOnce = isReadOnce;
    this.waiting = [];
    this.blocks = new Set();
    this.whole = null; // Where the server answers with all of it.
  }

  slice(start, end = this.byteLength) {
    const block = this.#found(start, end);
    if (block) return block.data.slice(start - block.start, end - block.start);
    return new Promise((resolve, reject) => {
      if (this.waiting.push({ start, end, resolve, reject }) === 1) setTimeout(() => this.#fetchWaiting());
    });
  }

  #found(start, end) {
    if (this.whole) return { start: 0, data: this.whole };
    for (const from of this.blocks) {
      const key = `${this.url} ${from}`;
      const block = cache.get(key);
      if (!block) this.blocks.delete(from);
      else if (block.start <= start && end <= block.end) {
        cache.delete(key);
        cache.set(key, block);
        return block;
      }
    }
    return null;
  }

  #fetchWaiting() {
    const asked = this.waiting.splice(0).sort((a, b) => a.start - b.start);
    const runs = [];
    for (const one of asked) {
      const run = runs.at(-1);
      const grown = run && Math.max(run.end, one.end);
      if (run && one.start - run.end <= GAP_BYTES && grown - run.start <= MOST_BYTES) {
        run.end = grown;
        run.asked.push(one);
      } else {
        runs.push({ start: one.start, end: one.end, asked: [one] });
      }
    }
    for (const run of runs) this.#fetchRun(run);
  }

  async #fetchRun(run) {
    try {
      const data = await this.#fetch(run.start, run.end);
      for (const { start, end, resolve } of run.asked) resolve(data.slice(start - run.start, end - run.start));
    } catch (error) {
      for (const { reject } of run.asked) reject(error);
    }
  }

  async #fetch(start, end) {
    if (this.whole) return this.whole.slice(start, end);
    const answer = await fetch(this.url, { headers: { Range: `bytes=${start}-${end - 1}` } }).catch(() => null);
    if (!answer?.ok) throw new FetchError(this.url, answer?.status ?? 0);
    const data = await answer.arrayBuffer();
    if (answer.status === 200 && data.byteLength !== end - start) {
      this.whole = data;
      server.sendsWholeFiles = true;
      return data.slice(start, end);
    }
    if (data.byteLength !== end - start) throw new FetchError(this.url, answer.status);
    if (this.isReadOnce) return data;
    this.blocks.add(start);
    remember({ url: this.url, start, end, data });
    return data;
  }
}

/** One Parquet file, whose footer is read once. */
class ParquetFile {
  constructor(url, entry, isReadOnce) {
    this.first = entry.first ?? 0;
    this.rows = entry.rows;
    this.footerBytes = entry.footer_bytes;
    this.bytes = new RangeFile(url, entry.bytes, isReadOnce);
  }

  async metadata() {
    this.footer ??= parquetMetadataAsync(this.bytes, { initialFetchSize: this.footerBytes });
    return this.footer.catch((error) => {
      this.footer = undefined; // The next one tries again.
      throw error;
    });
  }

  /** Columns of the rows from `start` to `end` of this file: {name: [an array for each row group]}. */
  async read(names, start, end) {
    const metadata = await this.metadata();
    const has = new Set(metadata.schema.map(({ name }) => name));
    const columns = names
      ? names.filter((name) => has.has(name))
      : metadata.schema
          .slice(1)
          .map(({ name }) => name)
          .filter((name) => name !== "bytes" && name !== "path");
    const scan = await parquetScan({ file: this.bytes, metadata, columns, rowStart: start, rowEnd: end, utf8: false });
    const read = columns.map((column) =>
      Promise.all(scan.ranges.map((range) => scan.readColumn({ column, ...range }))),
    );
    const arrays = await Promise.all(read);
    return Object.fromEntries(columns.map((column, place) => [column, arrays[place]]));
  }
}

/** Several files that are one table, whose rows are counted through. */
export class ParquetTable {
  constructor(folder, { files, count, row_group_rows: groupRows }, { isReadOnce = false } = {}) {
    this.files = files.map((entry) => new ParquetFile(folder + entry.name, entry, isReadOnce));
    this.count = count;
    this.groupRows = groupRows;
  }

  #fileOf(row) {
    return this.files.find(({ first, rows }) => row >= first && row < first + rows);
  }

  /** Columns of rows that lie in one row group: {name: array}. */
  async read(names, start, end) {
    const file = this.#fileOf(start);
    if (!file) throw new RangeError(`no row ${start}`);
    const found = await file.read(names, start - file.first, end - file.first);
    return Object.fromEntries(
      Object.entries(found).map(([name, arrays]) => [
        name,
        arrays.length === 1 ? arrays[0] : arrays.flatMap((one) => Array.from(one)),
      ]),
    );
  }

  /** The row groups that the rows from `start` to `end` lie in: [start, end] of each. */
  *groups(start = 0, end = this.count) {
    for (const { first, rows } of this.files) {
      for (let from = first; from < first + rows; from += this.groupRows) {
        const to = Math.min(from + this.groupRows, first + rows);
        if (to > start && from < end) yield [Math.max(from, start), Math.min(to, end)];
      }
    }
  }

  /** Ranges that hold all `rows` (sorted), none over the end of a row group, and with no gap above `gap` in them. */
  clusters(rows, gap) {
    const found = [];
    let groupEnd = -1;
    for (const row of rows) {
      const last = found.at(-1);
      if (last && row < groupEnd && row - last[1] <= gap) {
        last[1] = row + 1;
        continue;
      }
      if (row >= groupEnd) {
        const file = this.#fileOf(row);
        if (!file) throw new RangeError(`no row ${row}`);
        const inFile = Math.floor((row - file.first) / this.groupRows) + 1;
        groupEnd = Math.min(file.first + inFile * this.groupRows, file.first + file.rows);
      }
      found.push([row, row + 1]);
    }
    return found;
  }
}
