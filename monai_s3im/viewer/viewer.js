"use strict";

/*
 * The viewer of the report and of the web page: A, B and the fused image in three linked planes, drawn by NiiVue.
 *
 * Each image has a canvas of its own, and all canvases look at the grid of one of the images, so that a pixel of one is
 * at the same point in the others. Fade, checkerboard and reveal are therefore ways to lay canvases over each other.
 */

const FUSION_SIDES = ["a", "b", "fused"];
const FUSION_PLANES = ["axial", "coronal", "sagittal"];
const FUSION_MAPS = ["gray", "inferno", "viridis", "plasma", "hot", "bone", "turbo", "blue2red"];
const FUSION_ENDS = [["L", "R"], ["P", "A"], ["I", "S"]];
const CHECK_PIXELS = 48;
const CROSSHAIR_PIXELS = 1.5;
const LETTER_PIXELS = 4; // from the orientation letters to the edge

class FusionViewer {
  /*
   * root: an element to fill. niivue: the library. onTransform: called with the 4 x 4 matrix when B is moved by hand.
   */
  constructor(root, niivue) {
    this.niivue = niivue;
    this.root = root;
    this.images = {};
    this.panes = {};
    this.state = { view: "side", plane: "all", tool: "window", fade: 0, overlay: 0.5, reveal: 0.5, only: null };
    this.frame = null;
    this.root.classList.add("fusion-viewer");
    this.root.innerHTML = FusionViewer.markup();
    this.find = (selector) => this.root.querySelector(selector);
    for (const side of FUSION_SIDES) this.panes[side] = { element: this.find(`.pane[data-side=${side}]`), nv: null };
    this.wire();
    this.apply();
  }

  static markup() {
    const options = (items) => items.map(([value, text]) => `<option value="${value}">${text}</option>`).join("");
    const pane = (side, title) => `
      <section class="pane" data-side="${side}" aria-label="${title}">
        <div class="film"><canvas aria-hidden="true"></canvas><p class="apart" role="status" hidden></p><h3 class="title">${title}</h3>
          <div class="glass" tabindex="0" role="application" aria-label="${title} in three planes. Drag for window and level, click for the crosshair; keys: press ?"></div></div>
        <div class="about"><div class="scale"><b class="letter">${title}</b><span class="window"></span></div>
        <div class="color-bar" role="img" aria-label="Colours of ${title}"><span class="low"></span><i></i><span class="high"></span></div>
        <details class="look"><summary>Window and colour</summary><div class="choices">
          <label>Preset <select class="preset" aria-label="Preset of ${title}"></select></label>
          <label>From <input class="low-end" type="number" step="any" aria-label="Lower end of ${title}"></label>
          <label>to <input class="high-end" type="number" step="any" aria-label="Upper end of ${title}"></label>
          <label>Colours <select class="map" aria-label="Colours of ${title}"></select></label>
          <label>Opacity <input class="opacity" type="range" min="0" max="1" step="0.05" value="1" aria-label="Opacity of ${title}"></label>
        </div></details></div>
      </section>`;
    return `
      <div class="tools" role="toolbar" aria-label="Viewer">
        <label>View <select class="view" aria-label="View">${options([
          ["side", "Side by side"], ["fade", "Fade A, fused, B"], ["overlay", "B over A"],
          ["check", "Checkerboard of A and B"], ["reveal", "Reveal B"],
        ])}</select></label>
        <label>Planes <select class="plane" aria-label="Planes">${options([["all", "All planes"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"]])}</select></label>
        <label>Drag <select class="tool" aria-label="Drag">${options([["window", "Window and level"], ["crosshair", "Crosshair"], ["pan", "Move"], ["zoom", "Zoom"]])}</select></label>
        <button type="button" class="reset">Reset view</button>
        <button type="button" class="mip" hidden>Projection</button>
        <button type="button" class="png">Save PNG</button>
        <button type="button" class="keys" aria-label="Keys and mouse">?</button>
      </div>
      <div class="blend" hidden><span class="from">A</span><input type="range" list="fusion-fades"><span class="to">B</span><output class="part"></output>
        <datalist id="fusion-fades"><option value="-1" label="A"></option><option value="0" label="fused"></option><option value="1" label="B"></option></datalist></div>
      <div class="panes">${pane("a", "A")}${pane("b", "B")}${pane("fused", "Fused")}</div>
      <div class="readout"><span class="at">Crosshair</span>
        <output class="where" aria-label="Position"></output><output class="slices" aria-label="Slices"></output>
        <output class="values" aria-label="Values at the crosshair"></output></div>
      <dialog class="projection" aria-label="Maximum-intensity projection"><h3></h3><canvas role="img" aria-label="Maximum-intensity projection"></canvas>
        <label>Turn <input type="range" min="-180" max="180" step="5" value="0" aria-label="Turn of the projection in degrees"><output>0°</output></label>
        <form method="dialog"><button>Close</button></form></dialog>
      <dialog class="help" aria-label="Keys and mouse"><h3>Keys and mouse</h3><dl>
        <dt>Left drag</dt><dd>window (across) and level (up and down), or what <em>Drag</em> says</dd>
        <dt>Point</dt><dd>values here</dd><dt>Click</dt><dd>crosshair here, in all planes; with Shift it follows the drag</dd>
        <dt>Double click, Enter</dt><dd>this plane large; again, or Escape: back</dd>
        <dt>Wheel, Page up and down</dt><dd>next slice</dd><dt>Ctrl and wheel, + and −</dt><dd>zoom</dd>
        <dt>Right drag, middle drag</dt><dd>zoom, move</dd><dt>Arrows</dt><dd>crosshair by one voxel</dd>
        <dt>1 2 3 0</dt><dd>axial, coronal, sagittal, all planes</dd>
        <dt>S F O K V</dt><dd>side by side, fade, B over A, checkerboard, reveal</dd>
        <dt>[ and ]</dt><dd>less and more of B</dd><dt>W C M</dt><dd>drag: window, crosshair, move</dd><dt>R</dt><dd>reset</dd></dl>
        <form method="dialog"><button>Close</button></form></dialog>`;
  }

  /*
   * Show images, by side: {buffer, title, unit, low, high, map, colors, presets, isColor, isUptake}; a side that is null
   * or missing is empty. buffer: ArrayBuffer of a NIfTI, gzipped or not. low, high: the window; colors: [[r, g, b], ...]
   * for map "own"; presets: [[name, low, high], ...].
   */
  async show(images) {
    const shown = {};
    for (const side of FUSION_SIDES) {
      const image = images[side];
      if (!image) continue;
      const known = this.images[side];
      shown[side] = known?.buffer === image.buffer ? Object.assign(known, { ...image, volume: known.volume }) : { ...image, ...(await this.load(image)) };
    }
    this.images = shown;
    await this.lay();
  }

  async load(image) {
    const volume = await this.niivue.NVImage.loadFromUrl({ url: image.buffer.slice(0), name: "volume.nii.gz", colormap: "gray", cal_min: image.low, cal_max: image.high });
    return { volume, start: { low: image.low, high: image.high, map: image.map ?? "gray" }, low: image.low, high: image.high, map: image.map ?? "gray", opacity: 1, affine: volume.hdr.affine.map((row) => [...row]) };
  }

  async niivueOf(side) {
    const pane = this.panes[side];
    if (pane.nv) return pane.nv;
    const { Niivue, SHOW_RENDER, MULTIPLANAR_TYPE } = this.niivue;
    pane.nv = new Niivue({
      backColor: [0, 0, 0, 1], crosshairColor: [0.3, 0.7, 1, 0.8], fontColor: [0.8, 0.85, 0.9, 1], fontMinPx: 15, crosshairWidthUnit: "mm",
      dragAndDropEnabled: false, interactive: false, isRadiologicalConvention: true, loadingText: "", logLevel: "error",
      multiplanarPadPixels: 6, multiplanarShowRender: SHOW_RENDER.NEVER, multiplanarLayout: MULTIPLANAR_TYPE.AUTO,
      sagittalNoseLeft: true, showAllOrientationMarkers: true,
    });
    const drawLetters = pane.nv.drawSliceOrientationText.bind(pane.nv);
    pane.nv.drawSliceOrientationText = ([left, top, width, height], ...more) => {
      const edge = LETTER_PIXELS * (pane.nv.uiData.dpr ?? 1);
      drawLetters([left + edge, top + edge, width - 2 * edge, height - 2 * edge], ...more);
    };
    await pane.nv.attachToCanvas(pane.element.querySelector("canvas"));
    return pane.nv;
  }

  /* Put the images on the canvases, all in the grid of the fused image, else of A, else of B. */
  async lay() {
    const frameSide = ["fused", "a", "b"].find((side) => this.images[side]);
    const former = this.frame;
    this.frame = frameSide ? this.images[frameSide].volume : null;
    for (const side of FUSION_SIDES) {
      const pane = this.panes[side];
      const image = this.images[side];
      pane.element.hidden = !image;
      if (pane.nv) for (const volume of [...pane.nv.volumes]) pane.nv.removeVolume(volume);
      if (!image) continue;
      const nv = await this.niivueOf(side);
      image.volume.opacity = 1;
      if (side !== frameSide) nv.addVolume(this.ghostOf(this.frame));
      nv.addVolume(image.volume);
      this.describe(side);
    }
    if (this.frame && this.frame !== former) this.resetView();
    this.find(".mip").hidden = !this.uptakeSide();
    this.apply();
    this.showReadings();
    this.showApart();
  }

  /* Say so where an image has no point in common with the grid that is shown. */
  showApart() {
    const letters = { a: "A", b: "B", fused: "the fused volume" };
    const frameSide = this.sides().find((side) => this.images[side].volume === this.frame);
    for (const side of this.sides()) {
      const { volume } = this.images[side];
      const isApart = FusionViewer.isBeside(volume, this.frame) || FusionViewer.isBeside(this.frame, volume);
      const text = `${letters[side]} lies outside ${letters[frameSide]} in space: register the two, or check that they show one patient`;
      const notice = this.panes[side].element.querySelector(".apart");
      notice.hidden = !isApart;
      notice.textContent = isApart ? text : "";
    }
  }

  /* Whether all corners of a volume are beyond one face of another. */
  static isBeside(volume, other) {
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((corner) => {
      const voxel = [0, 1, 2].map((axis) => ((corner >> axis) & 1 ? volume.dimsRAS[axis + 1] - 0.5 : -0.5));
      return other.mm2vox([...volume.vox2mm(voxel, volume.matRAS)].slice(0, 3), true);
    });
    return [0, 1, 2].some((axis) => {
      const places = corners.map((corner) => corner[axis]);
      return Math.max(...places) <= -0.5 || Math.min(...places) >= other.dimsRAS[axis + 1] - 0.5;
    });
  }

  /* The same grid, drawn nowhere. */
  ghostOf(volume) {
    const ghost = Object.assign(Object.create(Object.getPrototypeOf(volume)), volume);
    ghost.id = crypto.randomUUID ? crypto.randomUUID() : String(Math.random());
    ghost.opacity = 0;
    ghost.colorbarVisible = false;
    return ghost;
  }

  sides() {
    return FUSION_SIDES.filter((side) => this.images[side]);
  }

  uptakeSide() {
    return ["b", "a"].find((side) => this.images[side]?.isUptake);
  }

  /* Titles, colour bars, presets and colour maps of an image. */
  describe(side) {
    const image = this.images[side];
    const element = this.panes[side].element;
    element.querySelector(".title").textContent = image.title;
    element.querySelector(".look").hidden = Boolean(image.isColor);
    const fill = (select, items, chosen) => {
      select.replaceChildren(...items.map(([value, text]) => new Option(text, value, false, value === chosen)));
    };
    fill(element.querySelector(".map"), [...(image.colors ? [["own", "as fused"]] : []), ...FUSION_MAPS.map((name) => [name, name])], image.map);
    const presets = [["start", "as fused"], ...(image.presets ?? []).map(([name], index) => [String(index), name])];
    if (image.startName) presets[0][1] = image.startName;
    fill(element.querySelector(".preset"), [...presets, ["own", "custom"]], "start");
    this.setMap(side, image.map);
    this.setWindow(side, image.low, image.high);
    this.setOpacity(side, image.opacity);
  }

  setOpacity(side, part) {
    this.images[side].opacity = part;
    this.panes[side].element.querySelector(".opacity").value = part;
    this.apply();
  }

  setMap(side, name) {
    const image = this.images[side];
    image.map = name;
    if (!image.isColor) {
      const nv = this.panes[side].nv;
      let key = name;
      if (name === "own") {
        key = `own-${side}`;
        const step = Math.max(1, Math.floor(image.colors.length / 64));
        const picked = image.colors.filter((_, index) => index % step === 0 || index === image.colors.length - 1);
        const places = picked.map((_, index) => Math.round((255 * index) / (picked.length - 1)));
        nv.addColormap(key, { R: picked.map((c) => c[0]), G: picked.map((c) => c[1]), B: picked.map((c) => c[2]), A: places, I: places });
      }
      image.volume._colormap = key;
      image.key = key;
      this.redraw(side, true);
    }
    this.drawBar(side);
  }

  drawBar(side) {
    const image = this.images[side];
    const bar = this.panes[side].element.querySelector(".color-bar");
    let colors = image.colors;
    if (!image.isColor) {
      const table = this.panes[side].nv.colormap(image.key ?? "gray");
      colors = Array.from({ length: 17 }, (_, index) => [...table.slice(4 * Math.min(255, index * 16), 4 * Math.min(255, index * 16) + 3)]);
    }
    bar.hidden = !colors;
    if (!colors) return;
    const step = Math.max(1, Math.floor(colors.length / 17));
    bar.querySelector("i").style.background = `linear-gradient(to right, ${colors.filter((_, i) => i % step === 0).map((c) => `rgb(${c.join(" ")})`).join(", ")})`;
    const [low, high] = image.isColor ? image.barEnds ?? [0, 1] : [image.low, image.high];
    const unit = image.isColor ? image.barUnit : image.unit;
    bar.querySelector(".low").textContent = FusionViewer.number(low);
    bar.querySelector(".high").textContent = `${FusionViewer.number(high)} ${unit ?? ""}`.trim();
    bar.setAttribute("aria-label", `Colours of ${image.title}: from ${bar.querySelector(".low").textContent} to ${bar.querySelector(".high").textContent}`);
  }

  static number(value) {
    const size = Math.abs(value);
    return size >= 100 || value === 0 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
  }

  setWindow(side, low, high, preset = null) {
    const image = this.images[side];
    if (!(high > low) || image.isColor) {
      this.panes[side].element.querySelector(".window").textContent = "";
      return;
    }
    Object.assign(image, { low, high });
    Object.assign(image.volume, { cal_min: low, cal_max: high });
    const element = this.panes[side].element;
    const level = FusionViewer.number((low + high) / 2);
    element.querySelector(".window").textContent = `W ${FusionViewer.number(high - low)} L ${level} ${image.unit ?? ""}`.trim();
    element.querySelector(".low-end").value = Number(low.toPrecision(5));
    element.querySelector(".high-end").value = Number(high.toPrecision(5));
    if (preset !== null) element.querySelector(".preset").value = preset;
    this.drawBar(side);
    this.redraw(side, true);
  }

  /* Draw in the next frame; colours too if windows or maps have changed. */
  redraw(side, isRecolored = false) {
    const pane = this.panes[side];
    if (!pane.nv || !this.images[side]) return;
    pane.isRecolored ||= isRecolored;
    if (pane.due) return;
    pane.due = requestAnimationFrame(() => {
      pane.due = null;
      if (!pane.nv.volumes.length) return;
      if (pane.isRecolored) pane.nv.updateGLVolume();
      else pane.nv.drawScene();
      pane.isRecolored = false;
    });
  }

  /* Show B where a movement puts it: 4 x 4 by rows, RAS mm, from where B is in its file. */
  moveB(matrix) {
    const image = this.images.b;
    if (!image) return;
    const moved = [0, 1, 2, 3].map((row) => [0, 1, 2, 3].map((column) => matrix[row].reduce((sum, part, k) => sum + part * image.affine[k][column], 0)));
    image.volume.setAffine(moved);
    this.redraw("b", true);
    this.showReadings();
    this.showApart();
  }

  resetView() {
    for (const side of this.sides()) {
      const { nv } = this.panes[side];
      nv.scene.crosshairPos = [0.5, 0.5, 0.5];
      nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
      this.redraw(side);
    }
    this.showReadings();
  }

  resetWindows() {
    for (const side of this.sides()) {
      const { start } = this.images[side];
      this.panes[side].element.querySelector(".map").value = start.map;
      this.setMap(side, start.map);
      this.setWindow(side, start.low, start.high, "start");
      this.setOpacity(side, 1);
    }
  }

  set(changes) {
    Object.assign(this.state, changes);
    this.apply();
  }

  /* Lay the canvases as the state says. */
  apply() {
    const { state } = this;
    const sides = this.sides();
    const isStacked = state.view !== "side" && sides.includes("a") && sides.includes("b");
    const hasFused = sides.includes("fused");
    this.root.dataset.view = isStacked ? state.view : "side";
    this.root.dataset.only = (!isStacked && state.only) || "";
    this.root.dataset.count = String(sides.length);
    for (const name of ["view", "plane", "tool"]) this.find(`select.${name}`).value = state[name];
    for (const option of this.find("select.view").options) option.disabled = option.value !== "side" && !(sides.includes("a") && sides.includes("b"));
    const blend = this.find(".blend");
    blend.hidden = !isStacked || state.view === "check";
    const slider = blend.querySelector("input");
    const part = state.view === "fade" ? state.fade : state[state.view] ?? 0;
    slider.min = state.view === "fade" ? -1 : 0;
    slider.max = 1;
    slider.step = 0.05;
    slider.value = part;
    slider.setAttribute("aria-label", { fade: hasFused ? "Fade from A over fused to B" : "Fade from A to B", overlay: "Opacity of B over A", reveal: "Border between A and B" }[state.view] ?? "Blend");
    blend.querySelector(".part").textContent = FusionViewer.partText(state.view, part, hasFused);
    const style = (side) => this.panes[side].element.querySelector(".film").style;
    for (const side of FUSION_SIDES) {
      const own = this.images[side]?.opacity ?? 1;
      Object.assign(style(side), { opacity: own, clipPath: "none", maskImage: "none", visibility: "visible" });
    }
    if (isStacked) {
      style("fused").visibility = "hidden";
      if (state.view === "fade" && hasFused) {
        style("fused").visibility = "visible";
        style("fused").opacity = 1 - Math.abs(part);
        style("b").visibility = part > 0 ? "visible" : "hidden";
      } else if (state.view === "fade") {
        style("b").opacity = (part + 1) / 2;
      } else if (state.view === "overlay") {
        style("b").opacity = part;
      } else if (state.view === "reveal") {
        style("b").clipPath = `inset(0 0 0 ${100 * (1 - part)}%)`;
      } else if (state.view === "check") {
        style("b").maskImage = "conic-gradient(#000 25%, transparent 0 50%, #000 0 75%, transparent 0)";
        style("b").maskSize = `${2 * CHECK_PIXELS}px ${2 * CHECK_PIXELS}px`;
      }
    }
    for (const side of sides) {
      const { nv } = this.panes[side];
      if (!nv) continue;
      const { SLICE_TYPE } = this.niivue;
      const type = state.plane === "all" ? SLICE_TYPE.MULTIPLANAR : FUSION_PLANES.indexOf(state.plane);
      if (nv.opts.sliceType !== type) nv.setSliceType(type);
      requestAnimationFrame(() => {
        nv.resizeListener();
        FusionViewer.fitCrosshair(nv);
      });
    }
  }

  /* Keep the lines of the crosshair as wide on the screen, in a small pane and in a large one. */
  static fitCrosshair(nv) {
    const [tile] = nv.screenSlices;
    const width = tile && (CROSSHAIR_PIXELS * (nv.uiData.dpr ?? 1) * Math.abs(tile.fovMM[0])) / tile.leftTopWidthHeight[2];
    if (width > 0 && Math.abs(width / nv.opts.crosshairWidth - 1) > 0.05) nv.setCrosshairWidth(width);
  }

  static partText(view, part, hasFused) {
    const percent = (value) => `${Math.round(100 * value)} %`;
    if (view === "overlay" || view === "reveal") return `B ${percent(part)}`;
    if (view !== "fade") return "";
    if (!hasFused) return `A ${percent((1 - part) / 2)}, B ${percent((1 + part) / 2)}`;
    if (part === 0) return "fused";
    return `fused ${percent(1 - Math.abs(part))}, ${part < 0 ? "A" : "B"} ${percent(Math.abs(part))}`;
  }

  /* Position, slices and values at the pointer, given as a fraction of the volume, else at the crosshair. */
  showReadings(pointed = null) {
    const side = this.sides().at(-1);
    const nv = side && this.panes[side].nv;
    if (!nv?.volumes.length) {
      for (const name of ["at", "where", "slices", "values"]) this.find(`.${name}`).textContent = "";
      return;
    }
    const frac = pointed ?? nv.scene.crosshairPos;
    this.position = [...nv.frac2mm(nv.scene.crosshairPos, 0, true)].slice(0, 3);
    const mm = [...nv.frac2mm(frac, 0, true)].slice(0, 3);
    this.find(".at").textContent = pointed ? "Pointer" : "Crosshair";
    const places = FUSION_ENDS.map((ends, axis) => `${ends[Number(mm[axis] >= 0)]} ${Math.abs(mm[axis]).toFixed(1)}`);
    this.find(".where").textContent = `${places.join(", ")} mm`;
    const voxel = nv.frac2vox(frac);
    const sizes = nv.volumes[0].dimsRAS;
    this.find(".slices").textContent = FUSION_PLANES.map((plane, index) => `${plane} ${voxel[2 - index] + 1}/${sizes[3 - index]}`).join(" · ");
    this.find(".values").textContent = this.sides().map((name) => `${{ a: "A", b: "B", fused: "Fused" }[name]} ${this.valueOf(name, mm)}`).join(" · ");
  }

  valueOf(side, mm) {
    const { volume, unit, isColor } = this.images[side];
    const voxel = volume.mm2vox(mm);
    if ([0, 1, 2].some((axis) => voxel[axis] < 0 || voxel[axis] >= volume.dimsRAS[axis + 1])) return "outside";
    const value = volume.getValue(...voxel);
    return isColor ? (value / 255).toFixed(2) : `${FusionViewer.number(value)}${unit ? ` ${unit}` : ""}`;
  }

  moveTo(frac) {
    for (const side of this.sides()) {
      const { nv } = this.panes[side];
      nv.scene.crosshairPos = frac.map((part) => Math.min(1, Math.max(0, part)));
      this.redraw(side);
    }
    this.showReadings();
  }

  step(x, y, z) {
    const { nv } = this.panes[this.sides().at(-1)] ?? {};
    if (!nv) return;
    const voxel = nv.frac2vox(nv.scene.crosshairPos);
    const sizes = nv.volumes[0].dimsRAS;
    const moved = [x, y, z].map((by, axis) => Math.min(sizes[axis + 1] - 1, Math.max(0, voxel[axis] + by)));
    this.moveTo([...nv.vox2frac(moved)]);
  }

  pan(change) {
    for (const side of this.sides()) {
      const { nv } = this.panes[side];
      nv.scene.pan2Dxyzmm = change([...nv.scene.pan2Dxyzmm]);
      this.redraw(side);
    }
  }

  zoom(factor) {
    this.pan(([x, y, z, zoom]) => [x, y, z, Math.min(20, Math.max(0.3, zoom * factor))]);
  }

  /* Where an event is: the tile and its plane, and the point as a fraction of the volume. */
  hit(event, side) {
    const { nv, element } = this.panes[side];
    const box = element.querySelector(".glass").getBoundingClientRect();
    const scale = nv.uiData.dpr ?? 1;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    const tile = nv.tileIndex(x, y);
    if (tile < 0) return null;
    const frac = nv.screenXY2TextureFrac(x, y, tile, false);
    return { plane: nv.screenSlices[tile].axCorSag, frac: frac[0] < 0 ? null : [...frac] };
  }

  large(side, plane) {
    const isLarge = this.state.only !== null;
    this.set(isLarge ? { only: null, plane: "all" } : { only: side, plane });
  }

  wire() {
    for (const name of ["view", "plane", "tool"]) this.find(`select.${name}`).addEventListener("change", (event) => this.set({ [name]: event.target.value, only: null }));
    this.find(".reset").addEventListener("click", () => { this.set({ only: null, plane: "all" }); this.resetView(); this.resetWindows(); });
    this.find(".blend input").addEventListener("input", (event) => this.set({ [this.state.view]: Number(event.target.value) }));
    this.find(".png").addEventListener("click", () => this.savePng());
    this.find(".mip").addEventListener("click", () => this.openProjection());
    this.find(".keys").addEventListener("click", () => this.find("dialog.help").showModal());
    this.find(".projection input").addEventListener("input", (event) => this.project(Number(event.target.value)));
    for (const side of FUSION_SIDES) this.wirePane(side);
    const resized = new ResizeObserver(() => this.apply());
    for (const glass of this.root.querySelectorAll(".glass")) resized.observe(glass);
  }

  wirePane(side) {
    const { element } = this.panes[side];
    const glass = element.querySelector(".glass");
    let drag = null;
    const windowed = () => (this.root.dataset.view === "overlay" ? "b" : this.root.dataset.view === "side" ? side : "a");
    glass.addEventListener("pointerdown", (event) => {
      if (!this.images[side]) return;
      const at = this.hit(event, side);
      const tool = event.button === 1 ? "pan" : event.button === 2 ? "zoom" : event.shiftKey ? "crosshair" : this.state.tool;
      const target = this.images[windowed()]?.isColor ? "a" : windowed();
      const image = this.images[target] ?? {};
      drag = { tool, at, x: event.clientX, y: event.clientY, last: event, moved: false, target, low: image.low, high: image.high };
      glass.setPointerCapture(event.pointerId);
      glass.focus({ preventScroll: true });
      event.preventDefault();
    });
    glass.addEventListener("pointermove", (event) => {
      if (!drag) {
        const isMoved = event.movementX || event.movementY; // not so if the page moved below it
        if (isMoved && this.images[side]) this.showReadings(this.hit(event, side)?.frac);
        return;
      }
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      drag.moved ||= Math.hypot(dx, dy) > 3;
      if (!drag.moved) return;
      if (drag.tool === "window") this.dragWindow(drag, dx, dy);
      if (drag.tool === "zoom") this.zoom(Math.exp((drag.last.clientY - event.clientY) / 150));
      const [at, before] = [this.hit(event, side), this.hit(drag.last, side)];
      if (drag.tool === "crosshair" && at?.frac) this.moveTo(at.frac);
      if (drag.tool === "pan" && at?.frac && before?.frac && at.plane === before.plane) this.panBy(side, before.frac, at.frac);
      drag.last = event;
    });
    glass.addEventListener("pointerup", (event) => {
      if (drag && !drag.moved && event.button === 0 && drag.at?.frac) this.moveTo(drag.at.frac);
      drag = null;
    });
    glass.addEventListener("pointerleave", () => this.showReadings());
    glass.addEventListener("pointercancel", () => { drag = null; });
    glass.addEventListener("contextmenu", (event) => event.preventDefault());
    glass.addEventListener("dblclick", (event) => {
      const at = this.hit(event, side);
      if (at && at.plane < 3) this.large(side, FUSION_PLANES[at.plane]);
    });
    glass.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) return this.zoom(Math.exp(-event.deltaY / 300));
      const at = this.hit(event, side);
      const by = [0, 0, 0];
      by[2 - (at && at.plane < 3 ? at.plane : 0)] = event.deltaY > 0 ? -1 : 1;
      return this.step(...by);
    }, { passive: false });
    glass.addEventListener("keydown", (event) => this.key(event, side));
    const on = (selector, type, action) => element.querySelector(selector).addEventListener(type, action);
    on(".preset", "change", (event) => {
      const image = this.images[side];
      const preset = event.target.value === "start" ? ["", image.start.low, image.start.high] : image.presets?.[Number(event.target.value)];
      if (preset) this.setWindow(side, preset[1], preset[2]);
    });
    for (const end of [".low-end", ".high-end"]) {
      on(end, "change", () => this.setWindow(side, Number(element.querySelector(".low-end").value), Number(element.querySelector(".high-end").value), "own"));
    }
    on(".map", "change", (event) => this.setMap(side, event.target.value));
    on(".opacity", "input", (event) => this.setOpacity(side, Number(event.target.value)));
  }

  dragWindow(drag, dx, dy) {
    const width = drag.high - drag.low;
    if (!(width > 0)) return;
    const wider = Math.max(width * Math.exp(dx / 200), width / 1000);
    const level = (drag.low + drag.high) / 2 - (dy / 250) * width;
    this.setWindow(drag.target, level - wider / 2, level + wider / 2, "own");
  }

  panBy(side, before, at) {
    const { nv } = this.panes[side];
    const [from, to] = [nv.frac2mm(before, 0, false), nv.frac2mm(at, 0, false)];
    this.pan(([x, y, z, zoom]) => [x + to[0] - from[0], y + to[1] - from[1], z + to[2] - from[2], zoom]);
  }

  key(event, side) {
    const steps = { ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1] };
    const plane = { coronal: 1, sagittal: 0 }[this.state.plane];
    const views = { s: "side", f: "fade", o: "overlay", k: "check", v: "reveal" };
    const tools = { w: "window", c: "crosshair", m: "pan" };
    const planes = { 0: "all", 1: "axial", 2: "coronal", 3: "sagittal" };
    const letter = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (letter in steps) {
      const by = [...steps[letter]];
      if (letter.startsWith("Page") && plane !== undefined) [by[plane], by[2]] = [by[2], 0];
      this.step(...by);
    } else if (letter in views) this.set({ view: views[letter], only: null });
    else if (letter in tools) this.set({ tool: tools[letter] });
    else if (letter in planes) this.set({ plane: planes[letter] });
    else if (letter === "+" || letter === "-") this.zoom(letter === "+" ? 1.2 : 1 / 1.2);
    else if (letter === "[" || letter === "]") this.blendBy(letter === "]" ? 0.1 : -0.1);
    else if (letter === "r") this.find(".reset").click();
    else if (letter === "Enter") this.large(side, this.state.plane === "all" ? "axial" : this.state.plane);
    else if (letter === "Escape" && this.state.only) this.large(side);
    else if (letter === "?") this.find("dialog.help").showModal();
    else return;
    event.preventDefault();
  }

  blendBy(by) {
    const name = this.state.view;
    if (!(name in this.state)) return;
    this.set({ [name]: Math.min(1, Math.max(name === "fade" ? -1 : 0, Math.round(20 * (this.state[name] + by)) / 20)) });
  }

  /* A picture of what is shown, as the canvases lie. */
  picture() {
    const panes = this.sides().map((side) => this.panes[side]).filter(({ element }) => element.offsetParent !== null);
    const stage = this.find(".panes").getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(stage.width * scale);
    canvas.height = Math.round((stage.height + 26) * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    context.fillRect(0, 0, stage.width, stage.height + 26);
    for (const { element, nv } of panes) {
      const film = element.querySelector(".film");
      if (film.style.visibility === "hidden") continue;
      nv.drawScene();
      const box = film.getBoundingClientRect();
      const [x, y] = [box.left - stage.left, box.top - stage.top];
      context.save();
      context.globalAlpha = Number(film.style.opacity);
      if (this.root.dataset.view === "check" && element.dataset.side === "b") FusionViewer.clipChecks(context, x, y, box);
      if (this.root.dataset.view === "reveal" && element.dataset.side === "b") {
        context.beginPath();
        context.rect(x + box.width * (1 - this.state.reveal), y, box.width, box.height);
        context.clip();
      }
      context.drawImage(nv.canvas, x, y, box.width, box.height);
      context.restore();
      context.fillStyle = "#dfe6ee";
      context.font = "13px sans-serif";
      if (this.root.dataset.view === "side") context.fillText(element.querySelector(".title").textContent, x + 6, y + 16);
    }
    context.fillStyle = "#dfe6ee";
    context.font = "12px sans-serif";
    context.fillText(`${this.find(".where").textContent}   ${this.find(".values").textContent}   Research use only`, 6, stage.height + 18);
    return canvas;
  }

  static clipChecks(context, x, y, box) {
    context.beginPath();
    for (let row = 0; row * CHECK_PIXELS < box.height; row += 1) {
      for (let column = 0; column * CHECK_PIXELS < box.width; column += 1) {
        if ((row + column) % 2) context.rect(x + column * CHECK_PIXELS, y + row * CHECK_PIXELS, CHECK_PIXELS, CHECK_PIXELS);
      }
    }
    context.clip();
  }

  savePng() {
    this.picture().toBlob((blob) => FusionViewer.save(blob, "view.png"));
  }

  static save(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  openProjection() {
    const dialog = this.find("dialog.projection");
    dialog.querySelector("h3").textContent = `Maximum-intensity projection of ${this.images[this.uptakeSide()].title}`;
    dialog.showModal();
    this.project(Number(dialog.querySelector("input").value));
  }

  /* The largest value along lines in the axial plane, turned about the axis from feet to head; the front at 0 degrees. */
  project(degrees) {
    const image = this.images[this.uptakeSide()];
    const { volume } = image;
    const [, sx, sy, sz] = volume.dimsRAS;
    const [, mx, my, mz] = volume.pixDimsRAS;
    const [cos, sin] = [Math.cos((degrees * Math.PI) / 180), Math.sin((degrees * Math.PI) / 180)];
    const pixel = Math.min(mx, my);
    const width = Math.ceil(Math.hypot(sx * mx, sy * my) / pixel) + 1;
    const largest = new Float32Array(width * sz).fill(-Infinity);
    const [stepX, stepY, stepZ] = volume.img2RASstep;
    const [startX, startY, startZ] = volume.img2RASstart;
    const columnOf = new Int32Array(sx * sy);
    for (let y = 0; y < sy; y += 1) {
      for (let x = 0; x < sx; x += 1) {
        const u = -(x + 0.5 - sx / 2) * mx * cos + (y + 0.5 - sy / 2) * my * sin; // the patient's right on the left
        columnOf[y * sx + x] = Math.min(width - 1, Math.max(0, Math.round(u / pixel + width / 2)));
      }
    }
    const voxels = volume.img;
    for (let z = 0; z < sz; z += 1) {
      for (let y = 0; y < sy; y += 1) {
        const row = startX + startY + startZ + y * stepY + z * stepZ;
        for (let x = 0; x < sx; x += 1) {
          const value = voxels[row + x * stepX];
          const at = (sz - 1 - z) * width + columnOf[y * sx + x];
          if (value > largest[at]) largest[at] = value;
        }
      }
    }
    const canvas = this.find("dialog.projection canvas");
    Object.assign(canvas, { width, height: sz });
    canvas.style.setProperty("--ratio", (width * pixel) / (sz * mz)); // in mm
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, sz);
    const slope = volume.hdr.scl_slope || 1;
    largest.forEach((raw, index) => {
      const part = (raw * slope + volume.hdr.scl_inter - image.low) / (image.high - image.low);
      const gray = 255 - Math.round(255 * Math.min(1, Math.max(0, Number.isFinite(part) ? part : 0)));
      pixels.data.set([gray, gray, gray, 255], 4 * index);
    });
    context.putImageData(pixels, 0, 0);
    this.find("dialog.projection output").textContent = `${degrees}°`;
  }
}
