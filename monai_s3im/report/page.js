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
stage.innerHTML = '<div></div><button type="button" class="close">Close</button>';

async function unzipped(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

async function loadViewer() {
  const code = await (await unzipped(document.getElementById("viewer-code").textContent)).blob();
  const address = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  await new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.onload = resolve;
    script.onerror = reject;
    script.src = address;
    document.head.append(script);
  });
  URL.revokeObjectURL(address);
  return new FusionViewer(stage.firstElementChild, globalThis.niivue);
}

async function openViewer(place) {
  const button = place.querySelector(".open");
  button.disabled = true;
  for (const other of all(".viewer .open[hidden]")) other.hidden = false;
  place.append(stage);
  viewer ??= await loadViewer();
  const described = JSON.parse(place.dataset.images);
  const images = {};
  for (const text of all("[data-volume]", place)) {
    const { volume } = text.dataset;
    images[volume.toLowerCase()] = { ...described[volume], buffer: await (await unzipped(text.textContent)).arrayBuffer() };
  }
  viewer.set({ view: images.a ? "fade" : "side", fade: 0, plane: "all", only: null });
  await viewer.show(images);
  button.disabled = false;
  button.hidden = true;
  stage.querySelector(".pane:not([hidden]) .glass").focus({ preventScroll: true });
  stage.dataset.ready = place.dataset.case;
}

function closeViewer() {
  const button = stage.parentElement.querySelector(".open");
  stage.remove();
  delete stage.dataset.ready;
  button.hidden = false;
  button.focus();
}

stage.querySelector(".close").addEventListener("click", closeViewer);
for (const place of all(".viewer")) place.querySelector(".open").addEventListener("click", () => openViewer(place));

/* Ratings: saved beside the report where s3im report --serve shows it, else as a download; until then kept here. */

const saveButton = document.getElementById("save-ratings");
const rated = document.getElementById("rated");
const isServed = window.location.protocol.startsWith("http");
const draftKey = `s3im ratings ${window.location.pathname}`;

function ratingOf(place) {
  return { rating: place.querySelector("input:checked")?.value ?? "", note: place.querySelector(".note-of-rating input").value.trim(), fused_sha256: place.dataset.sha256, rated_at: place.dataset.ratedAt };
}

function allRatings() {
  const ratings = {};
  for (const place of all(".rating")) {
    const rating = ratingOf(place);
    if (rating.rating || rating.note || rating.rated_at) ratings[place.dataset.case] = rating;
  }
  return ratings;
}

function showRatings() {
  const ratings = allRatings();
  for (const cell of all(".verdict")) {
    cell.textContent = ratings[cell.dataset.case]?.rating ?? "";
    cell.title = ratings[cell.dataset.case]?.note ?? "";
  }
  const count = Object.values(ratings).filter(({ rating }) => rating).length;
  return `${count} of ${all(".rating").length} rated`;
}

function keepDraft() {
  try {
    localStorage.setItem(draftKey, JSON.stringify(allRatings()));
  } catch { /* a browser without storage keeps them until the page is closed */ }
}

function readDraft() {
  try {
    return JSON.parse(localStorage.getItem(draftKey)) ?? {};
  } catch { /* as above */
    return {};
  }
}

async function readSaved() {
  if (!isServed) return {};
  const answer = await fetch("ratings.json").catch(() => null);
  return answer?.ok ? (await answer.json()).ratings : {};
}

/* Show ratings that are newer than those of the page; returns whether there are any. */
function restore(ratings) {
  let isRestored = false;
  for (const place of all(".rating")) {
    const kept = ratings[place.dataset.case];
    if (!kept || (kept.fused_sha256 ?? place.dataset.sha256) !== place.dataset.sha256 || (place.dataset.ratedAt && kept.rated_at <= place.dataset.ratedAt)) continue;
    for (const input of all("input[type=radio]", place)) input.checked = input.value === kept.rating;
    place.querySelector(".note-of-rating input").value = kept.note;
    place.dataset.ratedAt = kept.rated_at;
    isRestored = true;
  }
  return isRestored;
}

async function saveRatings() {
  const text = `${JSON.stringify({ schema_version: 1, ratings: allRatings() }, null, 2)}\n`;
  if (isServed) {
    const answer = await fetch("ratings.json", { method: "PUT", body: text }).catch(() => null);
    if (!answer?.ok) {
      rated.textContent = `Not saved: ${answer ? await answer.text() : "the server does not answer; start s3im report --serve again"}`;
      return;
    }
    rated.textContent = `${showRatings()}, saved in ratings.json beside the report`;
  } else {
    FusionViewer.save(new Blob([text], { type: "application/json" }), "ratings.json");
    rated.textContent = `${showRatings()}; put ratings.json beside the report`;
  }
  saveButton.disabled = true;
}

for (const place of all(".rating")) {
  place.addEventListener("input", () => {
    place.dataset.ratedAt = new Date().toISOString();
    saveButton.disabled = false;
    rated.textContent = `${showRatings()}, not saved yet`;
    keepDraft();
  });
}
saveButton.addEventListener("click", saveRatings);
readSaved().then((saved) => {
  restore(saved);
  const hasDraft = restore(readDraft());
  saveButton.disabled = !hasDraft;
  rated.textContent = showRatings() + (hasDraft ? ", not saved yet" : "");
});
