"use strict";

const find = (selector) => document.querySelector(selector);
const viewer = new FusionViewer(find("#viewer"), null);
const SIDES = ["a", "b"];
const volumes = new Map(); // key -> ArrayBuffer
let state = { revision: -1, sources: {}, offers: [] };
let shownKeys = "";
let movement = null; // by hand, from A's points to B's
let upload = null;
let pressed = ""; // the id of a control that lost the focus when it was disabled or replaced

/* Talk with the server. */

function show(id, text) {
  const element = find(id);
  element.hidden = !text;
  element.textContent = text ?? "";
}

async function ask(path, content) {
  const options = content === undefined ? {} : { method: "POST", body: JSON.stringify(content), headers: { "Content-Type": "application/json" } };
  let answer, text;
  try {
    answer = await fetch(path, options);
    text = await answer.text();
  } catch {
    return interrupt("#silent");
  }
  find("#silent").close();
  if (answer.status === 401 || answer.status === 403) return interrupt("#closed");
  if (!answer.ok) {
    show("#message", text);
    return null;
  }
  const said = JSON.parse(text);
  if ("revision" in said) await draw(said);
  return said;
}

function interrupt(id) {
  if (!find(id).open) find(id).showModal();
  return null;
}
for (const id of ["#silent", "#closed"]) find(id).addEventListener("cancel", (event) => event.preventDefault());

async function watch() {
  for (let round = 1; ; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    if (find("#closed").open) return;
    const isDue = find("#silent").open ? round % 8 === 0 : state.job || (round % 8 === 0 && !document.hidden);
    if (isDue && !upload) await ask("/api/state");
  }
}

/* Uploads. */

function sizeOf(files) {
  return files.reduce((sum, { file }) => sum + file.size, 0);
}

function send(files, side = "") {
  if (!files.length) return show("#message", "There are no files in what was dropped: drop volumes, a DICOM folder or a ZIP archive");
  if (upload || state.job) return show("#message", "Another job is running: wait for it to end, or cancel it");
  show("#message", "");
  const form = new FormData();
  for (const { file, path } of files) form.append("file", file, path);
  upload = new XMLHttpRequest();
  const started = performance.now();
  upload.open("POST", `/api/upload?side=${side}`);
  upload.upload.addEventListener("progress", (event) => {
    const left = ((performance.now() - started) / 1000) * (event.total / Math.max(event.loaded, 1) - 1);
    tellJob({ title: `Uploading ${files.length === 1 ? files[0].file.name : `${files.length} files`}`, stage: "", done: event.loaded, total: event.total, left, place: 0 });
  });
  const finish = (text) => {
    upload = null;
    tellJob(state.job);
    if (text) show("#message", text);
    enable();
  };
  upload.addEventListener("load", async () => {
    const { status, responseText } = upload;
    finish(status >= 400 && status !== 401 ? responseText : "");
    if (status === 401) interrupt("#closed");
    else if (status < 400) await draw(JSON.parse(responseText));
  });
  upload.addEventListener("error", () => finish("The upload was interrupted: try again, with files of the allowed size"));
  upload.addEventListener("abort", () => finish("The upload was cancelled; nothing was changed"));
  tellJob({ title: "Uploading", stage: "", done: 0, total: sizeOf(files), left: null, place: 0 });
  upload.send(form);
  enable();
}

function sendChosen(input) {
  send([...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name })));
  input.value = "";
}
const inputs = [find("#files"), find("#folder")];
for (const input of inputs) input.addEventListener("change", () => sendChosen(input));

async function filesOf(entry, path = "") {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: path + entry.name }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const inner of entries) found.push(...(await filesOf(inner, `${path}${entry.name}/`)));
  }
}

for (const type of ["dragenter", "dragover"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  const side = event.target.closest?.(".source")?.dataset.side ?? "";
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = entries.length
    ? (await Promise.all(entries.map((entry) => filesOf(entry)))).flat()
    : [...event.dataTransfer.files].map((file) => ({ file, path: file.name }));
  send(files, side);
});

/* What the server says. */

function timeOf(seconds) {
  if (seconds === null || seconds === undefined) return "";
  return seconds < 90 ? `about ${Math.max(1, Math.round(seconds))} s left` : `about ${Math.round(seconds / 60)} min left`;
}

function timeSince(seconds) {
  const whole = Math.floor(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function tellJob(job) {
  find("#job").hidden = !job;
  if (!job) return;
  const bar = find("#progress");
  if (job.total) Object.assign(bar, { max: job.total, value: job.done });
  else bar.removeAttribute("value");
  const isSlices = job.stage === "Fusing" && job.total;
  const stage = job.place ? `place ${job.place} in the queue` : isSlices ? `slice ${job.done} of ${job.total}` : job.stage;
  const parts = new Set([job.title, stage, timeOf(job.left)].filter(Boolean));
  find("#stage").textContent = [...parts].join(" · ");
  const isOpen = "elapsed" in job && !timeOf(job.left);
  find("#elapsed").textContent = isOpen ? ` · ${timeSince(job.elapsed)}` : ""; // outside the status, which is read aloud
}

function fill(list, items) {
  list.hidden = !items?.length;
  list.replaceChildren(...(items ?? []).map((text) => Object.assign(document.createElement("li"), { textContent: text })));
}

async function draw(said) {
  const former = state;
  state = said;
  if (!upload) tellJob(said.job);
  if (said.message || former.revision !== said.revision) show("#message", said.message);
  fill(find("#notes"), [...said.notes, ...(said.estimate?.faults ?? [])]);
  for (const side of SIDES) drawSource(side);
  if (former.revision !== said.revision) drawOffers();
  find("#swap").hidden = !(said.sources.a && said.sources.b);
  find("#result").hidden = !said.result;
  if (said.result) {
    find("#fused-name").textContent = said.result.name;
    fill(find("#warnings"), said.result.warnings);
    find("#dicom").hidden = !said.canDicom;
    find("#tfm").hidden = !said.movement;
    if (said.result.key !== former.result?.key) find("#result").scrollIntoView({ block: "nearest" });
  }
  drawRegistration(former);
  enable();
  await drawViewer();
}

function drawSource(side) {
  const source = state.sources[side];
  const element = find(`.source[data-side=${side}]`);
  element.querySelector(".name").textContent = source?.name ?? "no volume yet";
  element.querySelector(".hint").textContent = source ? `${source.label}${source.isGuessed ? " (guessed)" : ""}, ${source.detail}` : "Drop a file here, or choose one above.";
  const select = element.querySelector("select");
  if (document.activeElement !== select) select.value = source?.modalityGiven ?? "";
}

function drawOffers() {
  const body = find("#offers tbody");
  find("#offers").hidden = !state.offers.length;
  if (body.contains(document.activeElement)) pressed = document.activeElement.id;
  body.replaceChildren(...state.offers.map((offer) => {
    const row = document.createElement("tr");
    const name = document.createElement("td");
    name.append(offer.name);
    const kind = document.createElement("td");
    kind.textContent = [offer.kind === "dicom" ? "DICOM" : offer.kind, offer.detail].filter(Boolean).join(", ");
    const take = document.createElement("td");
    const buttons = Object.assign(document.createElement("div"), { className: "take" });
    for (const side of SIDES) {
      const isChosen = state.sources[side]?.id === offer.id;
      const button = Object.assign(document.createElement("button"), { type: "button", id: `take-${offer.id}-${side}`, textContent: `${isChosen ? "✓ " : ""}${side.toUpperCase()}` });
      button.setAttribute("aria-label", `${offer.name} as ${side.toUpperCase()}`);
      button.setAttribute("aria-pressed", String(isChosen));
      button.addEventListener("click", () => ask("/api/choose", { side, id: offer.id }));
      buttons.append(button);
    }
    take.append(buttons);
    row.append(name, kind, take);
    return row;
  }));
}

function enable() {
  const isBusy = Boolean(state.job || upload);
  const isPair = Boolean(state.sources.a && state.sources.b);
  const focused = document.activeElement;
  for (const button of document.querySelectorAll("#sample, #sample-too, #swap, #offers button, #server button, #accept, #reject")) button.disabled = isBusy;
  for (const id of ["#fuse", "#register"]) find(id).disabled = isBusy || !isPair;
  for (const side of SIDES) find(`#modality-${side}`).disabled = isBusy || !state.sources[side];
  if (isBusy && focused.disabled) pressed = focused.id;
  if (!isBusy) giveFocusBack(focused);
}

/* Disabled, hidden and replaced controls lose the focus: it returns to the one that was pressed, or goes on to "Fuse". */
function giveFocusBack(focused) {
  const isLost = (focused === document.body && pressed) || !focused.checkVisibility();
  const former = document.getElementById(pressed);
  pressed = "";
  if (isLost) (former?.checkVisibility() ? former : find("#fuse")).focus({ preventScroll: true });
}

async function volumeOf(side, key) {
  if (!volumes.has(key)) {
    try {
      const answer = await fetch(`/api/volume/${side}/${key}`);
      if (!answer.ok) return null;
      volumes.set(key, await answer.arrayBuffer());
    } catch {
      shownKeys = ""; // drawn when the server responds again
      return interrupt("#silent");
    }
  }
  return volumes.get(key);
}

/* NiiVue is large: the page works while it is being loaded. */
let isViewerLost = false;
const library = Object.assign(document.createElement("script"), { src: "/static/niivue.js" });
for (const event of ["load", "error"]) {
  library.addEventListener(event, () => {
    viewer.niivue = globalThis.niivue;
    isViewerLost = !viewer.niivue;
    drawViewer();
  });
}
document.head.append(library);

let drawing = Promise.resolve();
function drawViewer() {
  drawing = drawing.then(drawViewerNow);
  return drawing;
}

async function drawViewerNow() {
  const { sources, result } = state;
  const keys = JSON.stringify([sources.a?.key, sources.b?.key, result?.key]);
  if (keys === shownKeys) return;
  shownKeys = keys;
  const images = {};
  for (const side of SIDES) {
    const source = sources[side];
    const buffer = source && (await volumeOf(side, source.key));
    if (!buffer) continue;
    images[side] = { ...source, buffer, title: `${side.toUpperCase()}: ${source.label}${source.isDicom ? "" : `, ${source.name}`}`, map: source.colors ? "own" : "gray" };
    images[side].startName = "by modality";
  }
  if (result) {
    const buffer = await volumeOf("fused", result.key);
    if (buffer) images.fused = { buffer, title: "Fused", low: 0, high: 1, isColor: result.isColor, ...(result.bar ?? {}) };
  }
  for (const key of [...volumes.keys()]) if (!keys.includes(key)) volumes.delete(key);
  const isEmpty = !Object.keys(images).length;
  find("#empty").hidden = !isEmpty;
  find("#viewer").hidden = isEmpty;
  if (isEmpty) return;
  if (!viewer.niivue) {
    if (isViewerLost) show("#message", "The viewer could not be loaded: reload the page");
    else shownKeys = ""; // drawn when NiiVue has arrived
    return;
  }
  await viewer.show(images);
  place();
  if (result) showFusedRanges(result);
  find("#viewer").dataset.ready = keys;
}

/* A and B in the ranges that were fused. */
function showFusedRanges({ ranges, units }) {
  SIDES.forEach((side, index) => {
    const image = viewer.images[side];
    if (!image || image.isColor || (image.hasSuv && units[index] !== "SUV")) return;
    const [low, high] = ranges[index];
    Object.assign(image.start, { low, high });
    viewer.setWindow(side, low, high, "start");
  });
}

/* Registration: movements are 4 x 4 by rows, from A's points to B's, RAS mm. */

const times = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, part, k) => sum + part * b[k][j], 0)));
const identity = () => [0, 1, 2, 3].map((i) => [0, 1, 2, 3].map((j) => Number(i === j)));

function inverse(m) {
  const r = m.slice(0, 3).map((row) => row.slice(0, 3));
  const minor = (i, j) => {
    const [a, b] = [0, 1, 2].filter((k) => k !== i);
    const [c, d] = [0, 1, 2].filter((k) => k !== j);
    return (r[a][c] * r[b][d] - r[a][d] * r[b][c]) * ((i + j) % 2 ? -1 : 1);
  };
  const determinant = [0, 1, 2].reduce((sum, j) => sum + r[0][j] * minor(0, j), 0);
  const turned = [0, 1, 2].map((i) => [0, 1, 2].map((j) => minor(j, i) / determinant));
  const shift = turned.map((row) => -row.reduce((sum, part, k) => sum + part * m[k][3], 0));
  return [...turned.map((row, i) => [...row, shift[i]]), [0, 0, 0, 1]];
}

function drawRegistration(former) {
  const { estimate } = state;
  if (JSON.stringify(former.estimate) !== JSON.stringify(estimate) || JSON.stringify(former.movement) !== JSON.stringify(state.movement)) {
    movement = estimate?.matrix ?? null;
    find("#nudge input[value=after]").checked = true;
    if (estimate) {
      find("#registration").open = true;
      const length = Math.hypot(...estimate.matrix.slice(0, 3).map((row) => row[3]));
      find("#information").textContent = `${estimate.kind}, moved by ${length.toFixed(1)} mm, mutual information ${estimate.information.toFixed(3)} nats`;
    }
    place();
  }
  find("#nudge").hidden = !estimate;
  show("#accepted", state.movement ? "Accepted: B is fused as it is shown" : "");
}

/* Put B where it is to be shown. */
function place() {
  const isBefore = find("#nudge input[value=before]").checked && !find("#nudge").hidden;
  const shown = isBefore ? null : movement ?? state.movement;
  viewer.moveB(shown ? inverse(shown) : identity());
}

function nudge(axis, by, isTurn) {
  if (!movement) return;
  const move = identity();
  if (isTurn) {
    const angle = (by * Math.PI) / 180;
    const [i, j] = [0, 1, 2].filter((k) => k !== axis);
    const sign = axis === 1 ? -1 : 1;
    move[i][i] = move[j][j] = Math.cos(angle);
    move[i][j] = -sign * Math.sin(angle);
    move[j][i] = sign * Math.sin(angle);
    const centre = viewer.position ?? [0, 0, 0];
    for (const k of [0, 1, 2]) move[k][3] = centre[k] - move[k].slice(0, 3).reduce((sum, part, l) => sum + part * centre[l], 0);
  } else move[axis][3] = by;
  movement = times(movement, inverse(move)); // B is moved by the inverse of what takes A's points to B's
  find("#nudge input[value=after]").checked = true;
  place();
}

for (const [text, axis, sign, isTurn] of [
  ["← right", 0, 1, false], ["left →", 0, -1, false], ["front", 1, 1, false], ["back", 1, -1, false],
  ["up", 2, 1, false], ["down", 2, -1, false], ["turn +", 2, 1, true], ["turn −", 2, -1, true],
  ["nod +", 0, 1, true], ["nod −", 0, -1, true], ["tilt +", 1, 1, true], ["tilt −", 1, -1, true],
]) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  button.addEventListener("click", () => nudge(axis, sign * Number(find("#step").value), isTurn));
  find(".nudges .grid").append(button);
}
find("#register").addEventListener("click", () => ask("/api/register", { kind: find("#kind").value }));
find("#accept").addEventListener("click", () => ask("/api/accept", { matrix: movement }));
find("#reject").addEventListener("click", () => ask("/api/accept", { matrix: null }));
find("#check").addEventListener("click", () => viewer.set({ view: viewer.state.view === "check" ? "side" : "check", only: null }));
for (const input of document.querySelectorAll("#nudge input[name=when]")) input.addEventListener("change", place);

/* Settings and actions. */

function settings() {
  const values = Object.fromEntries([...document.querySelectorAll("#settings [name]")].map((field) => [field.name, field.value]));
  return { ...values, gray: find("#gray").checked };
}

function field(label, help, control) {
  const element = document.createElement("label");
  element.title = help;
  element.append(label, control);
  return element;
}

async function offer() {
  const offered = await ask("/api/offered");
  if (!offered) return;
  find("#limit").textContent = `At most ${offered.maxMegabytes} MB, unpacked.`;
  const fields = find("#settings .fields");
  for (const { name, label, items, help, value } of offered.selects) {
    const select = Object.assign(document.createElement("select"), { name });
    select.append(...items.map((item) => new Option(item, item, item === value, item === value)));
    fields.append(field(label, help, select));
  }
  for (const { name, label, help } of offered.texts) fields.append(field(label, help, Object.assign(document.createElement("input"), { name, type: "text", maxLength: 40 })));
  for (const side of SIDES) {
    const select = find(`#modality-${side}`);
    select.append(...offered.modalities.map(({ title, value }) => new Option(title, value ?? "")));
    select.addEventListener("change", () => ask("/api/choose", { side, id: state.sources[side].id, modality: select.value || null }));
  }
  find("#server").hidden = !offered.serverFiles.length;
  find("#server-files").append(...offered.serverFiles.map((name) => new Option(name)));
  find("#gray").parentElement.title = offered.gray;
}

find("#fuse").addEventListener("click", () => ask("/api/fuse", { settings: settings() }));
find("#swap").addEventListener("click", () => ask("/api/swap", {}));
for (const id of ["#sample", "#sample-too"]) find(id).addEventListener("click", () => ask("/api/sample", {}));
for (const button of document.querySelectorAll("[data-server]")) {
  button.addEventListener("click", () => ask("/api/choose", { side: button.dataset.server, server: find("#server-file").value }));
}
find("#server-form").addEventListener("submit", (event) => {
  event.preventDefault();
  find(state.sources.a ? "#server-b" : "#server-a").click();
});
find("#cancel").addEventListener("click", () => (upload ? upload.abort() : ask("/api/cancel", {})));
find("#end").addEventListener("click", async () => {
  if (await ask("/api/end", {})) window.location.href = "/";
});

/* Files may have been chosen before this script was loaded. */
async function begin() {
  await offer();
  await ask("/api/state");
  for (const input of inputs) if (input.files.length) sendChosen(input);
  await watch();
}
begin();
