// Hints: colours that places are to have. Each is a button on the picture, and a line in the list.

import { askAbout } from "./api.js";
import { cssOf, nameOf, shownRgb } from "./color.js";
import { byId, element, say } from "./dom.js";
import { openPicker, swatch } from "./picker.js";
import { eyedrop, hasReference } from "./reference.js";
import { placeOf } from "./stage.js";
import { state } from "./state.js";

const MIDDLE_LIGHTNESS = 60;
const cross = { x: 0.5, y: 0.5 };

const rounded = (place) => ({ x: Math.round(place.x * 1e4) / 1e4, y: Math.round(place.y * 1e4) / 1e4 });
const inside = (value) => Math.min(1, Math.max(0, value));
const replaced = (index, hint) => state.look.hints.map((old, number) => (number === index ? hint : old));
const without = (index) => state.look.hints.filter((_, number) => number !== index);

/** Choose the colour of a place, of a hint that is there where `index` is given; then add or change it. */
async function choose(place, index) {
  if (!state.facts.takes_hints) {
    say("This model takes no hints.");
    return;
  }
  const photo = state.current;
  const answer = await askAbout(photo, "likely", { model: state.model, look: photo.look, ...place }).catch((error) => {
    say(error.message, true);
  });
  if (!answer) return;
  const known = await answer.json();
  let current = state.look.hints[index];
  for (;;) {
    const choice = await openPicker({ ...known, current, canDelete: index !== undefined, canEyedrop: hasReference() });
    if (photo !== state.current || choice === null) return;
    if (choice === "eyedrop") {
      const ab = await eyedrop();
      current = { radius: 0.02, ...(current ?? { ab: [known.colours[0].a, known.colours[0].b] }), ...(ab && { ab }) };
      continue;
    }
    if (choice === "delete") state.change({ hints: without(index) });
    else if (index === undefined) state.change({ hints: [...state.look.hints, { ...place, ...choice }] });
    else state.change({ hints: replaced(index, { ...place, ...choice }) });
    return;
  }
}

function marker(hint, index) {
  const made = element("button", { type: "button", className: "marker", "aria-label": describe(hint, index) });
  made.style.left = `${100 * hint.x}%`;
  made.style.top = `${100 * hint.y}%`;
  made.style.backgroundColor = cssOf(shownRgb(MIDDLE_LIGHTNESS, ...hint.ab));
  made.addEventListener("keydown", (event) => key(event, hint, index));
  drag(made, hint, index);
  return made;
}

function drag(made, hint, index) {
  let place = null;
  made.addEventListener("pointerdown", (event) => { made.setPointerCapture(event.pointerId); place = null; });
  made.addEventListener("pointermove", (event) => {
    if (!made.hasPointerCapture(event.pointerId)) return;
    const to = placeOf(event);
    if (!to || (!place && Math.hypot(to.x - hint.x, to.y - hint.y) < 0.01)) return;
    place = rounded(to);
    made.style.left = `${100 * place.x}%`;
    made.style.top = `${100 * place.y}%`;
  });
  made.addEventListener("click", () => {
    if (place) state.change({ hints: replaced(index, { ...hint, ...place }) });
    else choose({ x: hint.x, y: hint.y }, index);
  });
}

function key(event, hint, index) {
  const step = event.shiftKey ? 0.002 : 0.01;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.key in moves) {
    const [x, y] = moves[event.key];
    state.change({ hints: replaced(index, { ...hint, ...rounded({ x: inside(hint.x + x), y: inside(hint.y + y) }) }) });
    byId("hints").children[index]?.focus();
  } else if (event.key === "Delete" || event.key === "Backspace") {
    state.change({ hints: without(index) });
    byId("stage").focus();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

function describe(hint, index) {
  const place = `${Math.round(100 * hint.x)} % from the left, ${Math.round(100 * hint.y)} % from the top`;
  return `Hint ${index + 1}: ${nameOf(MIDDLE_LIGHTNESS, ...hint.ab)}, ${place}`;
}

function line(hint, index) {
  const text = describe(hint, index);
  const edit = () => choose({ x: hint.x, y: hint.y }, index);
  const remove = element("button", {
    type: "button", className: "close", "aria-label": `Delete hint ${index + 1}`,
    onclick: () => state.change({ hints: without(index) }),
  }, "×");
  return element("li", {}, swatch(MIDDLE_LIGHTNESS, hint.ab, `Change hint ${index + 1}`, edit), element("span", {}, text), remove);
}

function render() {
  const hints = state.look?.hints ?? [];
  byId("hints").replaceChildren(...hints.map(marker));
  byId("hint-list").replaceChildren(...hints.map(line));
  byId("clear").disabled = hints.length === 0;
  byId("place").disabled = !state.current || !state.facts.takes_hints;
  byId("no-hints").hidden = Boolean(state.facts.takes_hints) || !state.facts.name;
  byId("undo").disabled = !state.current?.past.length;
  byId("redo").disabled = !state.current?.future.length;
}

// Placing without a pointer: a cross that the arrow keys move.

function showCross() {
  const made = byId("cross");
  made.hidden = false;
  made.style.left = `${100 * cross.x}%`;
  made.style.top = `${100 * cross.y}%`;
}

export const isPlacing = () => !byId("cross").hidden;

export function startPlacing() {
  if (!state.current) return;
  Object.assign(cross, { x: 0.5, y: 0.5 });
  showCross();
  byId("stage").focus();
  say("Move the cross with the arrow keys, Enter chooses a colour, Escape ends it.");
}

export function moveCross(x, y) {
  Object.assign(cross, rounded({ x: inside(cross.x + x), y: inside(cross.y + y) }));
  showCross();
  say(`${Math.round(100 * cross.x)} % from the left, ${Math.round(100 * cross.y)} % from the top`);
}

export function endPlacing(isDecided) {
  byId("cross").hidden = true;
  if (isDecided) choose({ ...cross });
}

export const placeHint = (place) => choose(rounded(place));

export function startHints() {
  state.on("current look model", render);
  byId("clear").addEventListener("click", () => state.change({ hints: [] }));
  byId("place").addEventListener("click", startPlacing);
  byId("undo").addEventListener("click", () => state.undo());
  byId("redo").addEventListener("click", () => state.redo());
  render();
}
