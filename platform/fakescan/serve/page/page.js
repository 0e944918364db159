// The page of `fakescan serve`: sends images one by one to /v1/detect and shows the answers as they come.
//
// Text from the server and from file names enters the page through textContent only.

const PARALLEL = 4; // Requests at once; the rest wait here, where they can be cancelled at no cost.
const RETRIES = 5; // Of one image at a busy server, before its user is asked.
const ENVELOPE = 1024; // Bytes, about, that multipart adds to a file.
const DISTRUST = 0.5; // From this off-script probability on, the model would rather have said something else.
const WORDS = { fake: "Fake", real: "Real", uncertain: "Uncertain", error: "No verdict" };
const CAUSES = {
  not_an_image: "This file is not an image that can be read.",
  unsupported_format: "Images of this kind are not read.",
  truncated: "The file is damaged or ends early.",
  too_large: "The file is too large.",
  too_many_pixels: "The image is too large.",
  judge_failed: "The model could not judge this image.",
}; // In plain words; the server's own message, which is more exact, follows.

/**
 * One image and what became of it. `state` is queued, working, waiting (for a busy server), done, failed or cancelled;
 * `result` is the server's, from the verdict on; `problem` says in words why there is no complete answer.
 */
const items = [];
let about = null; // What GET /v1/about says; nothing is sent before it is known.
let pasted = 0;

const byId = (id) => document.getElementById(id);

/** The answer to one image is not what was asked for; `message` is for people, `again` says whether retrying may help. */
class Problem extends Error {
  constructor({ message, code, status = 0, again = false, wait = null }) {
    super([CAUSES[code], sentence(message)].filter(Boolean).join(" "));
    Object.assign(this, { code, status, again, wait });
  }
}

// ---- The server and the key -----------------------------------------------------------------------------------------

async function meet() {
  for (;;) {
    try {
      const response = await fetch("v1/about");
      if (!response.ok) throw await problemOf(response);
      about = await response.json();
      break;
    } catch (error) {
      const why = error instanceof Problem ? error.message : "The server cannot be reached.";
      setText(byId("warning"), `${why} Trying again every few seconds.`);
      await pause(error.wait ?? 4);
    }
  }
  setText(byId("warning"), "");
  setText(byId("model"), `Model ${about.model}`);
  setText(byId("version"), `${about.name} ${about.version}`);
  setText(byId("notice"), sentence(about.notice ?? ""));
  const formats = about.formats.join(", ").replace(/, ([^,]*)$/, " or $1");
  const pixels = (about.max_pixels / 1e6).toLocaleString("en", { maximumFractionDigits: 1 });
  setText(byId("limits"), `${formats}; up to ${bytes(about.max_body_bytes)} and ${pixels} megapixels each.`);
  showKey();
}

const storedKey = () => sessionStorage.getItem("fakescan-key");
const locked = () => about.auth && !storedKey();

/** Ask for a key where one is needed and missing, and let the images go on where not. */
function showKey(words = "") {
  byId("key-form").hidden = !locked();
  byId("forget-key").hidden = !about.auth || locked();
  setText(byId("key-words"), words);
  items.forEach(draw);
  pump();
}

/** The server refused `key`: ask for another, unless one of the other requests already did. */
function askAgain(key, why) {
  if (about.auth && storedKey() !== key) return;
  about.auth = true;
  sessionStorage.removeItem("fakescan-key");
  showKey(key ? `The server did not accept the key. ${why}` : why);
  byId("key").focus();
}

function useKey(event) {
  event.preventDefault();
  sessionStorage.setItem("fakescan-key", byId("key").value.trim());
  byId("key").value = "";
  showKey();
  byId("choose").focus();
}

function forgetKey() {
  sessionStorage.removeItem("fakescan-key");
  showKey();
  byId("key").focus();
}

// ---- Taking images in -----------------------------------------------------------------------------------------------

function add(files) {
  if (!files.length) return setText(byId("warning"), "There is no image in what was dropped.");
  setText(byId("warning"), "");
  document.querySelector("[name=filter][value=all]").checked = true; // Else the new ones would be hidden.
  for (const file of files) {
    const item = { file, state: "queued", url: URL.createObjectURL(file) };
    item.card = newCard(item);
    items.push(item);
    byId("gallery").append(item.card);
    draw(item);
  }
  if (files.length > 1) announce(`${files.length} images added.`);
  drawGallery();
  items.at(-files.length).card.scrollIntoView({ block: "nearest" });
  pump();
}

async function drop(event) {
  document.body.classList.remove("dropping");
  if (!carriesFiles(event)) return;
  event.preventDefault();
  // Both must be read before the first await: afterwards the browser has emptied the event.
  const files = [...event.dataTransfer.files];
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return add(files);
  try {
    add((await Promise.all(entries.filter(Boolean).map((entry) => filesBelow(entry)))).flat());
  } catch (error) {
    setText(byId("warning"), `What was dropped cannot be read: ${error.message}`);
  }
}

/** The images of a dropped folder, and of the folders in it; a file that was dropped itself is taken as it is. */
async function filesBelow(entry, dropped = true) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return dropped || file.type.startsWith("image/") ? [file] : [];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    // A reader hands out a hundred entries at a time, and none at the end.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const inner of entries) found.push(...(await filesBelow(inner, false)));
  }
}

function paste(event) {
  const files = [...event.clipboardData.files];
  if (!files.length) return;
  event.preventDefault();
  // Browsers call every pasted picture image.png.
  add(files.map((file) => (file.name === "image.png" ? new File([file], `pasted-${++pasted}.png`, file) : file)));
}

const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");

function drag(event) {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  document.body.classList.add("dropping");
}

// ---- Queue and requests ---------------------------------------------------------------------------------------------

/** Start as many waiting images as there are free places. An image that waits for a busy server keeps its place. */
function pump() {
  if (!about || locked()) return;
  const running = items.filter((item) => item.state === "working" || item.state === "waiting").length;
  const queued = items.filter((item) => item.state === "queued");
  queued.slice(0, Math.max(0, PARALLEL - running)).forEach(run);
}

async function run(item) {
  const abort = (item.abort = new AbortController());
  const key = storedKey();
  begin(item);
  try {
    await judge(item, key, abort.signal);
    change(item, { state: "done" });
    announce(`${item.file.name}: ${WORDS[outcome(item)]}, score ${scoreText(item)}.`, item.result.explanation);
  } catch (error) {
    if (abort.signal.aborted) return; // cancel() and forget() have seen to it.
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
  change(item, { state: "working", result: null, explanation: "", problem: null, threshold: about.threshold });
}

/** Have one image judged, as often as it takes while the server says that it is busy. Raises Problem. */
async function judge(item, key, signal) {
  await refuseLocally(item.file);
  for (let tries = 0; ; tries++) {
    try {
      return await send(item, key, signal);
    } catch (error) {
      if (error.wait == null || signal.aborted) throw error;
      if (tries === RETRIES) throw new Problem({ ...error, message: `The server is still busy. ${error.message}` });
      if (tries === 0) announce(`${item.file.name}: ${busyWords(error.code)}; it will be tried again.`);
      await countDown(item, error.code, Math.max(error.wait, 2 ** tries), signal);
      begin(item);
    }
  }
}

/** Raise Problem for a file that the server would refuse after all its bytes were sent, or that is gone. */
async function refuseLocally(file) {
  if (file.size + ENVELOPE > about.max_body_bytes) {
    const message = `It has ${bytes(file.size)}; this server takes at most ${bytes(about.max_body_bytes)}.`;
    throw new Problem({ message, code: "too_large" });
  }
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new Problem({ message: "The file cannot be read any more. Was it moved or changed?", code: "unreadable", again: true });
  }
}

async function send(item, key, signal) {
  const body = new FormData();
  body.append("file", item.file, item.file.name);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let done = false;
  try {
    const response = await fetch("v1/detect?stream=true&explain=all", { method: "POST", body, headers, signal });
    item.requestId = response.headers.get("X-Request-ID");
    if (!response.ok) throw await problemOf(response);
    for await (const { name, data } of events(response.body)) {
      receive(item, name, data);
      done ||= name === "done";
    }
  } catch (error) {
    if (error instanceof Problem || signal.aborted) throw error;
    throw new Problem({ message: "The server cannot be reached. Check the connection, then try again.", code: "network", again: true });
  }
  if (item.result?.error) throw new Problem({ ...item.result.error, again: item.result.error.code === "judge_failed" });
  if (!done || !item.result?.verdict) throw new Problem({ message: "The server ended the answer too early.", code: "cut_off", again: true });
}

function receive(item, name, data) {
  if (name === "verdict") change(item, { result: data });
  if (name === "explanation") {
    item.explanation += data.text;
    draw(item);
  }
  if (name === "result") change(item, { result: data, explanation: data.explanation ?? "" });
  if (name === "done") change(item, { threshold: data.threshold, timings: data.timings, requestId: data.request_id });
  if (name === "error") throw new Problem({ ...data, message: data.detail, again: true });
}

/** The events of a text/event-stream, each a name and parsed data. */
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

/** What an answer that is no success says, as Problem. A proxy's own answer holds no problem document. */
async function problemOf(response) {
  const { detail, code } = await response.json().catch(() => ({}));
  const { status } = response;
  const busy = status === 503 || status === 429;
  const wait = busy ? Math.max(1, Math.ceil(Number(response.headers.get("Retry-After")) || 5)) : null;
  const again = status >= 500 || status === 408 || status === 429;
  return new Problem({ message: detail ?? `The server answered with status ${status}.`, code, status, again, wait });
}

function busyWords(code) {
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

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

function fail(item, error) {
  if (!(error instanceof Problem)) console.error(error);
  change(item, { state: "failed", problem: error });
  announce(`${item.file.name}: ${item.result?.verdict ? WORDS[outcome(item)] : WORDS.error}. ${error.message}`);
}

function change(item, changes) {
  Object.assign(item, changes);
  draw(item);
  drawGallery();
}

// ---- Cards ----------------------------------------------------------------------------------------------------------

const isOver = (item) => ["done", "failed", "cancelled"].includes(item.state);

/** fake, real, uncertain, error, or undefined while there is none. An answer cut off after its verdict keeps it. */
const outcome = (item) => item.result?.verdict ?? (item.state === "failed" ? "error" : undefined);

function newCard(item) {
  const card = byId("card").content.firstElementChild.cloneNode(true);
  const picture = card.querySelector("img");
  picture.alt = `Preview of ${item.file.name}`;
  picture.src = item.url;
  picture.addEventListener("error", () => {
    picture.hidden = true;
    card.querySelector(".no-preview").hidden = false;
  });
  setText(card.querySelector(".name"), item.file.name);
  card.querySelector(".retry").setAttribute("aria-label", `Try again: ${item.file.name}`);
  card.querySelector("summary").setAttribute("aria-label", `Details of ${item.file.name}`);
  card.querySelector(".remove").addEventListener("click", () => (isOver(item) ? remove : cancel)(item));
  card.querySelector(".retry").addEventListener("click", () => retry(item));
  return card;
}

function cancel(item) {
  item.abort?.abort();
  change(item, { state: "cancelled", problem: new Problem({ message: "Cancelled.", code: "cancelled", again: true }) });
  pump();
}

function retry(item) {
  item.card.querySelector(".remove").focus(); // The button that was pressed vanishes.
  change(item, { state: "queued", result: null, explanation: "", problem: null });
  pump();
}

function remove(item) {
  const shown = [...byId("gallery").querySelectorAll(".card:not([hidden])")];
  const place = shown.indexOf(item.card);
  const next = shown[place + 1] ?? shown[place - 1];
  forget(item);
  drawGallery();
  (next?.querySelector(".remove") ?? byId("choose")).focus();
  pump();
}

function forget(item) {
  item.abort?.abort();
  URL.revokeObjectURL(item.url);
  item.card.remove();
  items.splice(items.indexOf(item), 1);
}

function draw(item) {
  const part = (name) => item.card.querySelector(`.${name}`);
  const is = outcome(item);
  const judged = item.result?.verdict != null;
  item.card.dataset.state = item.state;
  item.card.dataset.outcome = is ?? "";
  item.card.setAttribute("aria-busy", String(!isOver(item)));
  part("remove").setAttribute("aria-label", `${isOver(item) ? "Remove" : "Cancel"} ${item.file.name}`);
  part("remove").title = isOver(item) ? "Remove" : "Cancel";
  part("verdict").hidden = !is;
  if (is) part("verdict").querySelector("use").setAttribute("href", `#icon-${is}`);
  setText(part("word"), WORDS[is] ?? "");
  setText(part("score"), judged ? `Score ${scoreText(item)}` : "");
  part("meter").hidden = !judged;
  if (judged) drawMeter(part("meter"), item);
  setText(part("state"), stateWords(item));
  setText(part("caution"), judged ? cautionWords(item.result) : "");
  part("said").hidden = !item.explanation;
  setText(part("explanation"), item.explanation ?? "");
  part("retry").hidden = !item.problem?.again;
  drawDetails(part("body").querySelector("details"), item);
}

function drawMeter(meter, item) {
  const { score } = item.result;
  const limit = item.threshold.toFixed(digits(item));
  meter.dataset.outcome = outcome(item);
  meter.style.setProperty("--score", score);
  meter.style.setProperty("--threshold", item.threshold);
  meter.setAttribute("aria-valuenow", score.toFixed(digits(item)));
  meter.setAttribute("aria-valuetext", `${scoreText(item)}; the threshold is ${limit}`);
  setText(meter.querySelector(".limit"), `threshold ${limit}`);
}

function drawDetails(details, item) {
  details.hidden = !isOver(item) || !item.result;
  if (details.hidden) return;
  const { logit, off_script: offScript, width, height, format, num_bytes: size, sha256 } = item.result;
  const times = Object.entries(item.timings ?? {}).map(([name, ms]) => `${name.replace(/_ms$/, "")} ${ms.toFixed(0)} ms`);
  const facts = {
    Logit: logit?.toFixed(3),
    "Off-script": offScript?.toPrecision(2),
    Threshold: item.threshold,
    Picture: width && `${width} × ${height} pixels, ${format}`,
    File: size && bytes(size),
    "SHA-256": sha256,
    Model: about.model,
    Request: item.requestId,
    Time: times.join(", "),
  };
  const rows = Object.entries(facts).filter(([, value]) => value != null && value !== "");
  details.querySelector("dl").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

function stateWords(item) {
  if (item.state === "queued") return about && locked() ? "Waiting for a key" : "Waiting its turn";
  if (item.state === "working") return item.result ? "" : "Sending and judging…";
  if (item.state === "waiting") return item.words;
  const incomplete = item.state === "failed" && item.result?.verdict;
  return `${incomplete ? "The explanation is incomplete. " : ""}${item.problem?.message ?? ""}`;
}

function cautionWords(result) {
  if (result.off_script < DISTRUST) return "";
  const percent = Math.floor(result.off_script * 100);
  return `Distrust this verdict: with ${percent} % probability the model would have said neither “real” nor “fake”.`;
}

/** Decimals that tell the score from the threshold, and the threshold from 0 and 1; at least two. */
function digits({ result, threshold }) {
  for (let count = 2; count < 6; count++) {
    const [score, limit] = [result.score.toFixed(count), threshold.toFixed(count)];
    const same = score === limit && result.score !== threshold;
    if (!same && Number(limit) > 0 && Number(limit) < 1) return count;
  }
  return 6;
}

/** The score in digits; never "1.00" or "0.00", which would say that the model is certain. */
function scoreText(item) {
  const count = digits(item);
  const text = item.result.score.toFixed(count);
  if (Number(text) === 1) return `> ${(1 - 10 ** -count).toFixed(count)}`;
  return Number(text) === 0 ? `< ${(10 ** -count).toFixed(count)}` : text;
}

// ---- The gallery ----------------------------------------------------------------------------------------------------

function drawGallery() {
  const count = (is) => items.filter((item) => is === "all" || outcome(item) === is).length;
  document.body.dataset.filled = String(items.length > 0);
  byId("results").hidden = items.length === 0;
  for (const radio of document.getElementsByName("filter")) {
    setText(radio.parentElement.querySelector(".count"), String(count(radio.value)));
  }
  setText(byId("summary"), summary(count));
  byId("download").disabled = !items.some(isOver);
  const shown = document.querySelector("[name=filter]:checked").value;
  for (const item of items) item.card.hidden = shown !== "all" && outcome(item) !== shown;
  setText(byId("none"), count(shown) ? "" : "No image here has this outcome.");
  arrange(sorted(byId("sort").value).map((item) => item.card));
}

function summary(count) {
  const parts = ["fake", "real", "uncertain"].filter(count).map((is) => `${count(is)} ${is}`);
  const open = items.filter((item) => !item.result?.verdict);
  const left = open.filter(isOver).length;
  if (left) parts.push(`${left} without a verdict`);
  if (open.length > left) parts.push(`${open.length - left} to go`);
  return `${items.length} ${items.length === 1 ? "image" : "images"}: ${parts.join(", ")}`;
}

function sorted(order) {
  if (order === "added") return items;
  const sign = order === "high" ? -1 : 1;
  const rank = (item) => (item.result?.score == null ? 2 : sign * item.result.score); // 2: after every score.
  return [...items].sort((a, b) => rank(a) - rank(b));
}

/** Put the cards in order, moving only those in the wrong place: a moved element loses the focus. */
function arrange(cards) {
  const focused = document.activeElement;
  cards.forEach((card, place) => {
    const current = byId("gallery").children[place];
    if (current !== card) byId("gallery").insertBefore(card, current);
  });
  if (focused !== document.activeElement) focused.focus({ preventScroll: true });
}

function clear() {
  if (items.length > 1 && !confirm(`Remove all ${items.length} images and their results from this page?`)) return;
  [...items].forEach(forget);
  drawGallery();
  byId("choose").focus();
}

function download() {
  const results = items.filter(isOver).map((item) => ({
    ...item.result,
    index: undefined,
    name: item.file.name,
    verdict: item.result?.verdict ?? null,
    explanation: item.explanation || null,
    error: item.problem ? { code: item.problem.code ?? null, message: item.problem.message } : null,
    threshold: item.threshold ?? null,
    request_id: item.requestId ?? null,
    timings: item.timings ?? null,
  }));
  const text = JSON.stringify({ saved_at: new Date().toISOString(), model: about.model, results }, null, 2);
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "fakescan-results.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // Some browsers begin to read it only later.
}

// ---- Words ----------------------------------------------------------------------------------------------------------

/** Set an element's words, and hide it while it has none. An unchanged text keeps the reader's selection. */
function setText(target, words) {
  if (target.textContent !== words) target.textContent = words;
  target.hidden = !words;
}

/** The server writes its messages as command lines do: in lower case, without a full stop. */
function sentence(words) {
  const begun = words.replace(/^[a-z]+(?=[ ,])/, (word) => word[0].toUpperCase() + word.slice(1));
  return begun && !/[.!?]$/.test(begun) ? `${begun}.` : begun;
}

function element(tag, words = "") {
  return Object.assign(document.createElement(tag), { textContent: words });
}

function bytes(count) {
  const [unit, size] = count >= 2 ** 20 ? ["MiB", 2 ** 20] : count >= 1024 ? ["KiB", 1024] : ["bytes", 1];
  return `${(count / size).toLocaleString("en", { maximumFractionDigits: 1 })}\u00a0${unit}`;
}

const unsaid = [];

/** Tell a screen reader; of many messages within a second only what they amount to, and the `more` of a lone one. */
function announce(message, more = "") {
  if (unsaid.push(`${message} ${more ?? ""}`) > 1) return;
  setTimeout(() => {
    byId("status").textContent = unsaid.length > 3 ? byId("summary").textContent : unsaid.join(" ");
    unsaid.length = 0;
  }, 800);
}

byId("choose").addEventListener("click", () => byId("files").click());
byId("files").addEventListener("change", () => {
  add(byId("files").files);
  byId("files").value = ""; // Choosing the same file again is a change then.
});
byId("key-form").addEventListener("submit", useKey);
byId("forget-key").addEventListener("click", forgetKey);
byId("sort").addEventListener("change", drawGallery);
byId("download").addEventListener("click", download);
byId("clear").addEventListener("click", clear);
for (const radio of document.getElementsByName("filter")) radio.addEventListener("change", drawGallery);
document.addEventListener("paste", paste);
document.addEventListener("drop", drop);
document.addEventListener("dragover", drag);
document.addEventListener("dragleave", (event) => event.relatedTarget ?? document.body.classList.remove("dropping"));
meet();
