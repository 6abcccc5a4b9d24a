// The picture follows every change: a small draft first, then the whole.

import { ask, askAbout } from "./api.js";
import { byId, say, showBlob } from "./dom.js";
import { state } from "./state.js";

const DRAFT = 400;
const WHOLE = 1400;
const SETTLE_MILLISECONDS = 150;

let controller = null;
let drafting = false;
let pending = false;
let settling = 0;
let settle = 0;

async function fetchPreview(side, signal) {
  const photo = state.current;
  const content = { model: state.model, look: photo.look, side };
  const response = await askAbout(photo, "preview", content, signal);
  const blob = await response.blob();
  if (photo === state.current && !signal.aborted) {
    await showBlob(byId("after"), blob);
    performance.mark(`shown-${side}`);
    state.emit("shown");
  }
}

function failed(error) {
  if (error.name !== "AbortError") say(error.message, true);
}

/** Show the newest look as a draft, then whole: changes that come meanwhile wait for the draft that is under way. */
async function refresh(delay) {
  clearTimeout(settling);
  settle = delay;
  if (!state.current) return;
  document.body.setAttribute("aria-busy", "true");
  pending = true;
  if (drafting) return;
  drafting = true;
  while (pending) {
    pending = false;
    controller?.abort();
    controller = new AbortController();
    await fetchPreview(DRAFT, controller.signal).catch(failed);
  }
  drafting = false;
  settling = setTimeout(whole, settle);
}

async function whole() {
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  if (state.current) await fetchPreview(WHOLE, signal).catch(failed);
  if (!signal.aborted) document.body.removeAttribute("aria-busy");
}

function open() {
  const photo = state.current;
  controller?.abort();
  for (const id of ["after", "before", "divider"]) byId(id).hidden = true;
  if (!photo) {
    clearTimeout(settling);
    document.body.removeAttribute("aria-busy");
    return;
  }
  const grey = ask(`/v1/photos/${photo.id}/grey?side=${WHOLE}`).then((response) => response.blob());
  grey.then((blob) => photo === state.current && showBlob(byId("before"), blob)).catch(failed);
  refresh(0);
}

export function startPicture() {
  state.on("current", open);
  state.on("look model", () => refresh(0));
  state.on("look-draft", () => refresh(SETTLE_MILLISECONDS));
  state.on("shown", () => {
    byId("after").alt = `${state.current.name}, coloured`;
    byId("before").alt = `${state.current.name}, without colours`;
    byId("divider").hidden = false;
  });
}
