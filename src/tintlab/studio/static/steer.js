// Sliders along the model's directions, and the strength of all colours.

import { byId, element } from "./dom.js";
import { STEERS, directionOf, state } from "./state.js";

const rows = new Map();

function row(name, title, low, high, range) {
  const output = element("output", {});
  const input = element("input", {
    type: "range", id: `steer-${name}`, ...range,
    oninput: () => { tell(name); state.preview({ [name]: Number(input.value) }); },
    onchange: () => { state.change({ [name]: Number(input.value) }); },
  });
  rows.set(name, { input, output, low, high });
  return element("p", { className: "slider" }, element("label", { htmlFor: input.id }, title), output, input);
}

function tell(name) {
  const { input, output, low, high } = rows.get(name);
  const value = Number(input.value);
  const text = value.toFixed(name === "saturation" ? 2 : 1).replace("-", "−");
  output.value = text;
  input.setAttribute("aria-valuetext", name === "saturation" ? text : `${text}, ${value < 0 ? low : value > 0 ? high : "as it is"}`);
}

function render() {
  const { directions = [], saturation = 1 } = state.facts;
  for (const [name, { input }] of rows) {
    const known = name === "saturation" || directions.includes(directionOf(name));
    input.disabled = !state.current || !known;
    input.value = state.look?.[name] ?? (name === "saturation" ? saturation : 0);
    tell(name);
  }
  byId("no-directions").hidden = directions.length > 0;
}

export function startSteer() {
  const steps = { min: -3, max: 3, step: 0.1 };
  byId("steer").append(
    ...STEERS.map(([name, title, low, high]) => row(name, title, low, high, steps)),
    row("saturation", "Strength", "", "", { min: 0, max: 2.5, step: 0.05 }),
  );
  byId("steer").append(element("button", {
    type: "button",
    onclick: () => state.change({ warm: 0, vivid: 0, green: 0, sky: 0, foliage: 0, saturation: null }),
  }, "Reset"));
  state.on("current look model", render);
  render();
}
