// The models to choose from; a promotion elsewhere shows without a restart.

import { ask } from "./api.js";
import { byId, element, say } from "./dom.js";
import { state } from "./state.js";

const POLL_MILLISECONDS = 5000;

function title(model) {
  if (model.name === "default") return model.version ? `Champion (version ${model.version})` : `Default (${model.model})`;
  return `${model.model}${model.champion ? ", champion" : ""}`;
}

function render() {
  const options = state.models.map((model) => element("option", { value: model.name }, title(model)));
  byId("model").replaceChildren(...options);
  byId("model").value = state.model;
}

async function refresh() {
  if (document.hidden) return;
  const before = state.facts.weights_sha256;
  const listed = JSON.stringify(state.models);
  state.models = (await (await ask("/v1/models")).json()).models;
  if (JSON.stringify(state.models) === listed) return;
  render();
  if (before && state.facts.weights_sha256 !== before) say(`Another model is in use now: ${title(state.facts)}`);
  if (state.facts.weights_sha256 !== before) state.emit("model");
}

export async function startModels() {
  byId("model").addEventListener("change", (event) => {
    state.model = event.target.value;
    state.emit("model");
  });
  for (;;) {
    await refresh().catch((error) => say(error.message, true));
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
}
