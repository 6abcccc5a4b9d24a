// The stage: zoom, pan, and the line between before and after.

import { byId } from "./dom.js";
import { state } from "./state.js";

const LARGEST = 16;
const STEP = 1.25;
const CLICK_PIXELS = 4;

const view = { zoom: 1, x: 0, y: 0 };
const pointers = new Map();
let moved = 0;

function fitted() {
  const stage = byId("stage");
  const { width, height } = state.current ?? { width: 4, height: 3 };
  const scale = Math.min(stage.clientWidth / width, stage.clientHeight / height);
  return { width: width * scale, height: height * scale };
}

function render() {
  const stage = byId("stage");
  const canvas = byId("canvas");
  const { width, height } = fitted();
  const spare = (size, room) => Math.max(0, (size * view.zoom - room) / 2);
  view.x = Math.min(Math.max(view.x, -spare(width, stage.clientWidth)), spare(width, stage.clientWidth));
  view.y = Math.min(Math.max(view.y, -spare(height, stage.clientHeight)), spare(height, stage.clientHeight));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.style.transform = `translate(-50%, -50%) translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
  canvas.style.setProperty("--zoom", view.zoom);
}

export function fit() {
  Object.assign(view, { zoom: 1, x: 0, y: 0 });
  render();
}

/** Zoom about a point of the stage, in pixels from its middle. */
export function zoomBy(factor, x = 0, y = 0) {
  const zoom = Math.min(LARGEST, Math.max(1, view.zoom * factor));
  const share = zoom / view.zoom;
  view.x = x - (x - view.x) * share;
  view.y = y - (y - view.y) * share;
  view.zoom = zoom;
  render();
}

export function panBy(x, y) {
  view.x += x;
  view.y += y;
  render();
}

/** Shares of width and height of a point of the window; null outside of the picture. */
export function placeOf(event) {
  const box = byId("canvas").getBoundingClientRect();
  const place = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  return place.x >= 0 && place.x <= 1 && place.y >= 0 && place.y <= 1 ? place : null;
}

export function compare() {
  const percent = Number(byId("compare").value);
  byId("before").style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
  byId("divider").style.left = `${percent}%`;
}

function fromMiddle(x, y) {
  const box = byId("stage").getBoundingClientRect();
  return [x - box.left - box.width / 2, y - box.top - box.height / 2];
}

function move(event) {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = { x: event.clientX, y: event.clientY };
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, point]) => point);
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    zoomBy(apart(now) / Math.max(1, apart(before)), ...fromMiddle((now.x + other.x) / 2, (now.y + other.y) / 2));
    moved = Infinity;
  } else {
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (moved > CLICK_PIXELS) panBy(now.x - before.x, now.y - before.y);
  }
  pointers.set(event.pointerId, now);
}

/** Start; `clicked` hears of clicks on the picture, as shares of width and height. */
export function startStage(clicked) {
  const stage = byId("stage");
  stage.addEventListener("pointerdown", (event) => {
    if (event.target.closest("button")) return;
    if (pointers.size === 0) moved = 0;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
  stage.addEventListener("pointerup", (event) => {
    if (!pointers.delete(event.pointerId)) return;
    const place = placeOf(event);
    if (moved <= CLICK_PIXELS && place && state.current) clicked(place);
  });
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? STEP : 1 / STEP, ...fromMiddle(event.clientX, event.clientY));
  }, { passive: false });
  byId("zoom-in").addEventListener("click", () => zoomBy(STEP));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / STEP));
  byId("zoom-fit").addEventListener("click", fit);
  byId("compare").addEventListener("input", compare);
  new ResizeObserver(render).observe(stage);
  state.on("current", () => {
    byId("compare").disabled = !state.current;
    fit();
    compare();
  });
}
