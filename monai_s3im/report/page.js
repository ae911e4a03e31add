"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const list = document.getElementById("list");
const search = document.getElementById("search");
const counts = all(".counts button");

function showCases() {
  const wanted = counts.find((button) => button.getAttribute("aria-pressed") === "true").dataset.show;
  const words = search.value.trim().toLowerCase();
  for (const element of all("[data-attention]")) {
    const fits = wanted === "all" || element.dataset.attention === wanted;
    element.hidden = !(fits && element.dataset.name.toLowerCase().includes(words));
  }
  const rows = all("tbody tr", list);
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("shown").textContent = shown < rows.length ? `${shown} of ${rows.length} shown` : "";
}

function sortBy(heading) {
  const column = heading.cellIndex;
  const rising = heading.getAttribute("aria-sort") !== "ascending";
  const valueOf = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  const compare = (one, other) => {
    const [a, b] = [valueOf(one), valueOf(other)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = a.localeCompare(b, undefined, { numeric: Number.isNaN(Number(a)) });
    return (rising ? 1 : -1) * (Number.isNaN(a - b) ? order : a - b);
  };
  for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
  list.tBodies[0].append(...all("tbody tr", list).sort(compare));
}

for (const button of counts) {
  button.addEventListener("click", () => {
    for (const other of counts) other.setAttribute("aria-pressed", String(other === button));
    showCases();
  });
}
search.addEventListener("input", showCases);
for (const heading of all("thead th", list)) {
  heading.querySelector("button").addEventListener("click", () => sortBy(heading));
}

/* The viewer: one for the page, moved to the case that is looked at. */

let viewer = null;
const stage = document.createElement("div");
stage.className = "stage";
stage.innerHTML = `<div class="film"><canvas tabindex="0" role="application" aria-label="Three planes of the volume. Arrow keys and page up and down move the crosshair."></canvas></div>
<div class="bar"><label class="fade"><span>A</span><input type="range" min="-1" max="1" step="0.05" value="0" list="fades" aria-label="Fade from A over fused to B"><span>B</span></label>
<datalist id="fades"><option value="-1"></option><option value="0"></option><option value="1"></option></datalist>
<output></output><button type="button">Close</button></div>`;

const bytesOf = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));

async function unzipped(text) {
  const stream = new Blob([bytesOf(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).blob();
}

async function loadViewer() {
  const code = await unzipped(document.getElementById("viewer-code").textContent);
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.onload = resolve;
    script.onerror = reject;
    script.src = address;
    document.head.append(script);
  });
  URL.revokeObjectURL(address);
  const { Niivue, SHOW_RENDER, SLICE_TYPE } = globalThis.niivue;
  const made = new Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.3, 0.7, 1, 0.8],
    crosshairWidth: 0.6,
    crosshairWidthUnit: "percent",
    dragAndDropEnabled: false,
    isRadiologicalConvention: true,
    loadingText: "",
    logLevel: "error",
    multiplanarPadPixels: 10,
    multiplanarShowRender: SHOW_RENDER.NEVER,
    sagittalNoseLeft: true,
    showAllOrientationMarkers: true,
  });
  made.onLocationChange = (location) => {
    const places = [["L", "R"], ["P", "A"], ["I", "S"]].map(
      (letters, axis) => `${letters[Number(location.mm[axis] >= 0)]} ${Math.abs(location.mm[axis]).toFixed(1)}`,
    );
    stage.querySelector("output").textContent = `${places.join(", ")} mm`;
  };
  await made.attachToCanvas(stage.querySelector("canvas"));
  made.setSliceType(SLICE_TYPE.MULTIPLANAR);
  return made;
}

async function openViewer(place) {
  const button = place.querySelector(".open");
  button.disabled = true;
  for (const other of all(".viewer .open[hidden]")) other.hidden = false;
  place.append(stage);
  stage.querySelector(".fade").hidden = all("[data-volume]", place).length < 3;
  stage.querySelector(".fade input").value = 0;
  viewer ??= await loadViewer();
  for (const volume of [...viewer.volumes]) viewer.removeVolume(volume);
  const images = [];
  for (const text of all("[data-volume]", place)) {
    images.push(await globalThis.niivue.NVImage.loadFromBase64({
      base64: text.textContent,
      name: `${text.dataset.volume}.nii.gz`,
      cal_min: 0,
      cal_max: 255,
      opacity: text.dataset.volume === "fused" ? 1 : 0,
    }));
  }
  for (const image of images) viewer.addVolume(image);
  viewer.moveCrosshairInVox(0, 0, 0); // tells the place
  button.disabled = false;
  button.hidden = true;
  stage.querySelector("canvas").focus();
  stage.dataset.ready = place.dataset.case;
}

function closeViewer() {
  const button = stage.parentElement.querySelector(".open");
  stage.remove();
  delete stage.dataset.ready;
  button.hidden = false;
  button.focus();
}

stage.querySelector(".fade input").addEventListener("input", (event) => {
  const part = Number(event.target.value);
  [1 - Math.abs(part), Math.max(0, -part), Math.max(0, part)].forEach((opacity, index) => viewer.setOpacity(index, opacity));
});
stage.querySelector(".bar button").addEventListener("click", closeViewer);
stage.querySelector("canvas").addEventListener("keydown", (event) => {
  const steps = {
    ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
    PageUp: [0, 0, 1], PageDown: [0, 0, -1],
  };
  if (event.key in steps) {
    event.preventDefault();
    viewer.moveCrosshairInVox(...steps[event.key]);
  }
});
for (const place of all(".viewer")) place.querySelector(".open").addEventListener("click", () => openViewer(place));
