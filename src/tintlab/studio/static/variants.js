// Six visibly different colourings, beside the model's own.

import { askAbout } from "./api.js";
import { byId, element, say, showBlob } from "./dom.js";
import { state } from "./state.js";

const SIDE = 240;

let controller = null;
let shown = null;

function key() {
  return [state.current?.id, state.model, state.facts.weights_sha256].join(" ");
}

function button(number, seed, title) {
  const image = element("img", { alt: "" });
  const made = element("button", {
    type: "button", className: "variant", "aria-label": title, title,
    onclick: () => state.change({ variant: number, seed }),
  }, image);
  made.dataset.variant = number;
  made.dataset.seed = seed;
  return [made, image];
}

async function fill(seed) {
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  const photo = state.current;
  const look = { ...photo.look, seed, hints: [], variant: 0 };
  const place = byId("variants");
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await askAbout(photo, "variants", { model: state.model, look }, signal);
    const { variants } = await answer.json();
    if (signal.aborted) return;
    const entries = [[0, "The model's own colouring"], ...variants.map(({ number }, index) => [number, `Variant ${index + 1}`])];
    const buttons = entries.map(([number, title]) => [number, ...button(number, seed, title)]);
    place.replaceChildren(...buttons.map(([, made]) => made));
    mark();
    for (const [number, , image] of buttons) {
      const content = { model: state.model, look: { ...look, variant: number }, side: SIDE };
      await showBlob(image, await (await askAbout(photo, "preview", content, signal)).blob());
    }
    place.removeAttribute("aria-busy");
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  }
}

function mark() {
  for (const made of byId("variants").children) {
    const { variant, seed } = made.dataset;
    const isTaken = Number(variant) === state.look?.variant && (variant === "0" || Number(seed) === state.look?.seed);
    made.setAttribute("aria-pressed", isTaken);
  }
}

function refresh() {
  const takesNoise = Boolean(state.facts.takes_noise);
  byId("no-noise").hidden = takesNoise || !state.facts.name;
  byId("more").disabled = !takesNoise || !state.current;
  if (!state.current || !takesNoise) {
    controller?.abort();
    byId("variants").replaceChildren();
    shown = null;
  } else if (shown !== key()) {
    shown = key();
    fill(state.current.look.seed);
  }
}

export function startVariants() {
  // After the first colours: they come first.
  state.on("shown", refresh);
  state.on("current", () => { if (!state.current) refresh(); });
  state.on("look current", mark);
  byId("more").addEventListener("click", () => {
    const seeds = [...byId("variants").children].map((made) => Number(made.dataset.seed));
    fill(Math.max(0, ...seeds) + 1);
  });
}
