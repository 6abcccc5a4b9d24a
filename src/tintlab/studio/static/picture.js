// The picture follows every change: a small draft while a slider moves, then the whole.

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

/** Drafts come one after another: the newest change waits for the one that is under way. */
async function draft() {
  clearTimeout(settling);
  settling = setTimeout(whole, SETTLE_MILLISECONDS);
  pending = true;
  if (drafting) return;
  drafting = true;
  controller?.abort();
  controller = new AbortController();
  while (pending) {
    pending = false;
    await fetchPreview(DRAFT, controller.signal).catch(failed);
  }
  drafting = false;
}

async function whole() {
  if (!state.current) return;
  clearTimeout(settling);
  controller?.abort();
  controller = new AbortController();
  const { signal } = controller;
  document.body.setAttribute("aria-busy", "true");
  try {
    await fetchPreview(WHOLE, signal);
  } catch (error) {
    failed(error);
  }
  if (!signal.aborted) document.body.removeAttribute("aria-busy");
}

async function open() {
  const photo = state.current;
  for (const id of ["after", "before", "divider"]) byId(id).hidden = true;
  if (!photo) return;
  const grey = ask(`/v1/photos/${photo.id}/grey?side=${WHOLE}`).then((response) => response.blob());
  grey.then((blob) => photo === state.current && showBlob(byId("before"), blob)).catch(failed);
  whole();
}

export function startPicture() {
  state.on("current", open);
  state.on("look model", whole);
  state.on("look-draft", draft);
  state.on("shown", () => {
    byId("after").alt = `${state.current.name}, coloured`;
    byId("before").alt = `${state.current.name}, without colours`;
    byId("divider").hidden = false;
  });
}
