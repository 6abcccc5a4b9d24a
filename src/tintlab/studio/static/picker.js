// Choosing the colour of a place: those that are likely there, or any of the photograph's lightness.

import { byId, element } from "./dom.js";
import { cssOf, nameOf, rgbOfLab, shownRgb } from "./color.js";

const REACH = 90;

const picked = { ab: [0, 0], radius: 0.02 };
let lightness = 50;
let finish = () => {};

function drawPlane() {
  const plane = byId("plane");
  const context = plane.getContext("2d");
  const size = plane.width;
  const pixels = context.createImageData(size, size);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const rgb = rgbOfLab(lightness, ((2 * column) / size - 1) * REACH, (1 - (2 * row) / size) * REACH);
      if (rgb) pixels.data.set([...rgb, 255], 4 * (row * size + column));
    }
  }
  context.putImageData(pixels, 0, 0);
  context.lineWidth = 2;
  for (const [colour, radius] of [["black", 6], ["white", 4]]) {
    context.strokeStyle = colour;
    context.beginPath();
    context.arc(((picked.ab[0] / REACH + 1) * size) / 2, ((1 - picked.ab[1] / REACH) * size) / 2, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}

function render() {
  [byId("pick-a").value, byId("pick-b").value] = picked.ab;
  byId("pick-radius").value = 100 * picked.radius;
  const chosen = byId("chosen");
  chosen.style.backgroundColor = cssOf(shownRgb(lightness, ...picked.ab));
  chosen.setAttribute("aria-label", `Chosen colour: ${nameOf(lightness, ...picked.ab)}`);
  drawPlane();
}

function pick(a, b) {
  picked.ab = [Math.round(10 * a) / 10, Math.round(10 * b) / 10];
  render();
}

export function swatch(l, ab, title, onclick) {
  const made = element("button", { type: "button", className: "swatch", title, "aria-label": title, onclick });
  made.style.backgroundColor = cssOf(shownRgb(l, ...ab));
  return made;
}

function likelySwatch(colour, index) {
  const title = `${nameOf(lightness, colour.a, colour.b)}, likely colour ${index + 1}`;
  return swatch(lightness, [colour.a, colour.b], title, () => pick(colour.a, colour.b));
}

/** Ask for a colour: resolves to `{ab, radius}`, "delete", "eyedrop" or null. */
export function openPicker({ lightness: l, colours, current, canDelete, canEyedrop }) {
  lightness = l;
  Object.assign(picked, current ?? { ab: [colours[0].a, colours[0].b], radius: 0.02 });
  byId("likely").replaceChildren(...colours.map(likelySwatch));
  byId("pick-delete").hidden = !canDelete;
  byId("eyedrop").hidden = !canEyedrop;
  render();
  const dialog = byId("picker");
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    finish = (answer) => { finish = () => {}; if (dialog.open) dialog.close(); resolve(answer); };
  });
}

export function startPicker() {
  const dialog = byId("picker");
  const plane = byId("plane");
  const take = (event) => {
    if (event.type === "pointermove" && !event.buttons) return;
    const box = plane.getBoundingClientRect();
    pick(((2 * (event.clientX - box.left)) / box.width - 1) * REACH, (1 - (2 * (event.clientY - box.top)) / box.height) * REACH);
  };
  plane.addEventListener("pointerdown", take);
  plane.addEventListener("pointermove", take);
  byId("pick-a").addEventListener("input", (event) => pick(Number(event.target.value), picked.ab[1]));
  byId("pick-b").addEventListener("input", (event) => pick(picked.ab[0], Number(event.target.value)));
  byId("pick-radius").addEventListener("input", (event) => { picked.radius = Number(event.target.value) / 100; });
  byId("pick-delete").addEventListener("click", () => finish("delete"));
  byId("eyedrop").addEventListener("click", () => finish("eyedrop"));
  dialog.addEventListener("close", () => {
    finish(dialog.returnValue === "ok" ? { ab: picked.ab, radius: picked.radius } : null);
  });
}
