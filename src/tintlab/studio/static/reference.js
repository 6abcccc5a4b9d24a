// A reference photograph: its palette guides the colours, and the eyedropper takes colours from it.

import { askAbout, upload } from "./api.js";
import { labOfRgb } from "./color.js";
import { byId, say } from "./dom.js";
import { plainLook, state } from "./state.js";

const SIDE = 480;

let isShown = false;
let resolveDrop = null;
const aim = { x: 0.5, y: 0.5 };

export const hasReference = () => isShown;

async function take(file) {
  if (!file) return;
  try {
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
    const canvas = byId("like-picture");
    canvas.width = Math.round(bitmap.width * scale);
    canvas.height = Math.round(bitmap.height * scale);
    canvas.getContext("2d", { willReadFrequently: true }).drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    isShown = true;
    byId("like").hidden = false;
    const reference = { ...(await upload(file)), file };
    state.palette = (await (await askAbout(reference, "palette", {})).json()).palette;
    use();
  } catch (error) {
    say(`${file.name}: ${error.message}`, true);
  }
}

function use() {
  const wanted = byId("like-palette").checked && isShown && state.facts.takes_hints ? state.palette : null;
  if (state.current && state.look.like !== wanted) state.change({ like: wanted });
}

function showStrength() {
  const input = byId("like-strength");
  input.value = { ...plainLook(), ...state.look }.like_strength;
  input.disabled = !state.look?.like;
  input.setAttribute("aria-valuetext", `${Math.round(100 * input.value)} %`);
}

function remove() {
  isShown = false;
  state.palette = null;
  byId("like").hidden = true;
  use();
}

function colourAt(x, y) {
  const canvas = byId("like-picture");
  const at = (share, size) => Math.min(size - 1, Math.max(0, Math.floor(share * size)));
  const data = canvas.getContext("2d").getImageData(at(x, canvas.width), at(y, canvas.height), 1, 1).data;
  const [, a, b] = labOfRgb([data[0], data[1], data[2]]);
  return [Math.round(10 * a) / 10, Math.round(10 * b) / 10];
}

/** Let a colour be taken from the reference: resolves to `[a, b]`, or to null. */
export function eyedrop() {
  const canvas = byId("like-picture");
  canvas.classList.add("aiming");
  canvas.scrollIntoView({ block: "nearest" });
  canvas.focus();
  say("Click the reference; or move with the arrow keys and press Enter. Escape ends it.");
  return new Promise((resolve) => { resolveDrop = resolve; });
}

function drop(colour) {
  byId("like-picture").classList.remove("aiming");
  resolveDrop?.(colour);
  resolveDrop = null;
}

function key(event) {
  const moves = { ArrowLeft: [-0.02, 0], ArrowRight: [0.02, 0], ArrowUp: [0, -0.02], ArrowDown: [0, 0.02] };
  if (!resolveDrop) return;
  if (event.key in moves) {
    aim.x = Math.min(1, Math.max(0, aim.x + moves[event.key][0]));
    aim.y = Math.min(1, Math.max(0, aim.y + moves[event.key][1]));
    say(`${Math.round(100 * aim.x)} % from the left, ${Math.round(100 * aim.y)} % from the top`);
  } else if (event.key === "Enter") drop(colourAt(aim.x, aim.y));
  else if (event.key === "Escape") drop(null);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

export function startReference() {
  const canvas = byId("like-picture");
  byId("reference").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  byId("like-palette").addEventListener("change", use);
  const strength = byId("like-strength");
  strength.addEventListener("input", () => state.preview({ like_strength: Number(strength.value) }));
  strength.addEventListener("change", () => state.change({ like_strength: Number(strength.value) }));
  state.on("current look", showStrength);
  byId("like-remove").addEventListener("click", remove);
  document.querySelector("aside").addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
  canvas.addEventListener("keydown", key);
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    if (resolveDrop) drop(colourAt((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
  });
}
