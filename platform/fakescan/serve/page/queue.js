// Sends images one by one to /v1/detect, a few at once, and takes in the answers as they come.

import { announce, bytes, pause, visible } from "./dom.js";
import { change, isJudged, isOver, items, show } from "./items.js";
import { makePreview } from "./preview.js";
import { Problem, askAgain, locked, modelChanged, problemOf, server, storedKey, withKey } from "./server.js";
import { WORDS, outcomeOf, scoreText } from "./verdict.js";

const PARALLEL = 4; // Requests at once; the rest wait here, where they can be cancelled at no cost.
const RETRIES = 5; // Of one image at a busy server, before its user is asked.
const OUTAGE_RETRIES = 7; // Of one image at a server out of reach: two minutes, since each pause is twice the last.
const ENVELOPE = 1024; // Bytes, about, that multipart adds to a file.

let sameAs = () => {}; // Told of a file that is here already.

export const onSame = (listener) => (sameAs = listener);

/** Start as many waiting images as there are free places. An image that waits for a busy server keeps its place. */
export function pump() {
  if (!server.about || locked()) return;
  const running = items.filter((item) => item.state === "working" || item.state === "waiting").length;
  const queued = items.filter((item) => item.state === "queued");
  queued.slice(0, Math.max(0, PARALLEL - running)).forEach(run);
}

async function run(item) {
  const abort = (item.abort = new AbortController());
  const key = storedKey();
  begin(item);
  try {
    await check(item);
    abort.signal.throwIfAborted();
    if (mergeSame(item)) return pump();
    makePreview(item);
    await judge(item, key, abort.signal);
    change(item, { state: "done" });
    announce(`${visible(item.name)}: ${WORDS[outcomeOf(item)]}, score ${scoreText(item)}.`, item.result.explanation);
  } catch (error) {
    if (abort.signal.aborted) return pump(); // cancel() and forget() have seen to the rest.
    if (error.status === 401) {
      askAgain(key, error.message);
      change(item, { state: "queued" });
    } else {
      fail(item, error);
    }
  }
  pump();
}

/** Before anything is awaited, or the queue would start the image twice. */
function begin(item) {
  change(item, { state: "working", result: null, answer: null, explanation: "", problem: null });
}

/** Raise Problem for a file that the server would refuse after all its bytes were sent, or that is gone. */
async function check(item) {
  const limit = server.about.max_body_bytes;
  if (item.size + ENVELOPE > limit) {
    const message = `It has ${bytes(item.size)}; this server takes at most ${bytes(limit)}.`;
    throw new Problem({ message, code: "too_large" });
  }
  try {
    // Browsers hash only on pages that came over HTTPS or from this machine; elsewhere the answer brings the hash.
    const data = await (crypto.subtle ? item.file : item.file.slice(0, 1)).arrayBuffer();
    if (crypto.subtle) item.sha256 = hex(await crypto.subtle.digest("SHA-256", data));
  } catch {
    throw new Problem({ message: "The file cannot be read any more. Was it moved or changed?", code: "unreadable", again: true });
  }
}

const hex = (buffer) => [...new Uint8Array(buffer)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Whether the same bytes are here already; then this image is given up in favour of the other. */
function mergeSame(item) {
  const other = item.sha256 && items.find((one) => one !== item && one.sha256 === item.sha256);
  if (!other) return false;
  sameAs(item, other);
  return true;
}

/** Have one image judged, as often as it takes while the server is busy or out of reach. Raises Problem. */
async function judge(item, key, signal) {
  for (let tries = 0; ; tries++) {
    try {
      return await send(item, key, signal);
    } catch (error) {
      if (error.wait == null || signal.aborted) throw error;
      if (error.code === "network" && tries >= OUTAGE_RETRIES) throw error;
      if (error.code !== "network" && tries >= RETRIES) throw new Problem({ ...error, message: `The server is still busy. ${error.message}` });
      if (tries === 0) announce(`${visible(item.name)}: ${busyWords(error.code)}; it will be tried again.`);
      await countDown(item, error.code, Math.max(error.wait, 2 ** tries), signal);
      change(item, { state: "working" }); // A verdict that came before the answer broke off stays meanwhile.
    }
  }
}

async function send(item, key, signal) {
  const body = new FormData();
  body.append("file", item.file, item.name);
  let done = false;
  try {
    const options = { method: "POST", body, headers: withKey(key), signal };
    const response = await fetch("v1/detect?stream=true&explain=all", options);
    item.requestId = response.headers.get("X-Request-ID");
    if (!response.ok) throw await problemOf(response);
    for await (const { name, data } of events(response.body)) {
      receive(item, name, data);
      done ||= name === "done";
    }
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
    throw new Problem({ message: "The server cannot be reached. Check the connection, then try again.", code: "network", again: true, wait: 1 });
  }
  if (item.result?.error) throw new Problem({ ...item.result.error, again: item.result.error.code === "judge_failed" });
  if (!done || !isJudged(item)) throw new Problem({ message: "The server ended the answer too early.", code: "cut_off", again: true });
}

function receive(item, name, data) {
  if (name === "verdict") {
    change(item, { result: data, sha256: data.sha256 ?? item.sha256, explanation: "" });
    mergeSame(item); // Where the browser could not hash: this ends the request.
  }
  if (name === "explanation") {
    item.explanation += data.text;
    show(item);
  }
  if (name === "result") change(item, { result: data, sha256: data.sha256 ?? item.sha256, explanation: data.explanation ?? "" });
  if (name === "done") {
    change(item, { answer: data, requestId: data.request_id });
    if (data.model && data.model !== server.model) modelChanged(data.model);
  }
  if (name === "error") throw new Problem({ ...data, message: data.detail, again: true });
}

/** The events of a text/event-stream, each a name and parsed data; its comments, which keep it alive, are left out. */
async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (buffer + value).split(/\r?\n\r?\n/);
    buffer = blocks.pop();
    for (const block of blocks) {
      const field = (name) => [...block.matchAll(new RegExp(`^${name}: ?(.*)$`, "gm"))].map((match) => match[1]);
      const data = field("data").join("\n");
      if (data) yield { name: field("event")[0], data: JSON.parse(data) };
    }
  }
}

function busyWords(code) {
  if (code === "network") return "The server cannot be reached";
  if (code === "starting") return "The server is starting";
  return code === "rate_limited" ? "Too many images in a short time" : "The server is busy";
}

async function countDown(item, code, seconds, signal) {
  const end = Date.now() + seconds * 1000;
  for (let left = seconds; left > 0; left = Math.ceil((end - Date.now()) / 1000)) {
    change(item, { state: "waiting", words: `${busyWords(code)}; trying again in ${left}\u00a0s` });
    await pause(Math.min(1, (end - Date.now()) / 1000), signal);
  }
}

function fail(item, error) {
  if (!(error instanceof Problem)) console.error(error);
  change(item, { state: "failed", problem: error });
  announce(`${visible(item.name)}: ${isJudged(item) ? WORDS[outcomeOf(item)] : WORDS.error}. ${error.message}`);
}

export function cancel(item) {
  item.abort?.abort();
  change(item, { state: "cancelled", problem: new Problem({ message: "Cancelled.", code: "cancelled", again: true }) });
  pump();
}

/** Whether trying again may help an image that failed. */
export const mayRetry = (item) => item.state === "failed" && Boolean(item.problem?.again && item.file);

/** Judge an image again that has no complete answer; its decision and note stay. */
export function retry(item) {
  if (!isOver(item) || !item.file) return;
  change(item, { state: "queued", result: null, answer: null, explanation: "", problem: null });
  pump();
}
