// Files of coloured photographs, and of what was chosen.

import { ask, askAbout, post, upload } from "./api.js";
import { byId, save, say } from "./dom.js";
import { state } from "./state.js";

const SUFFIXES = { png: ".png", jpeg: ".jpg", webp: ".webp" };

const stem = (name) => name.replace(/\.[^.]*$/, "") || "photo";

function form() {
  const [format, depth] = byId("format").value.split(" ");
  return { format, depth: Number(depth) };
}

async function busy(id, work) {
  const button = byId(id);
  button.disabled = true;
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    say(error.message, true);
  }
  button.removeAttribute("aria-busy");
  render();
}

async function download() {
  const photo = state.current;
  say(`Colouring ${photo.name} at full size …`);
  const asked = { model: state.model, look: photo.look, ...form() };
  const blob = await (await askAbout(photo, "file", asked)).blob();
  save(blob, `${stem(photo.name)}-coloured${SUFFIXES[asked.format]}`);
  say(`${photo.name} is saved.`);
}

async function saveSettings() {
  const photo = state.current;
  const blob = await (await askAbout(photo, "settings", { model: state.model, look: photo.look })).blob();
  save(blob, `${stem(photo.name)}.json`);
}

async function zip() {
  say(`Colouring ${state.photos.length} photographs at full size …`);
  for (const photo of state.photos) {  // those that the server has forgotten are sent once more
    await ask(`/v1/photos/${photo.id}/grey?side=16`).catch(async () => { photo.id = (await upload(photo.file)).id; });
  }
  const photos = state.photos.map(({ id, name, look }) => ({ id, name, look }));
  save(await (await post("/v1/photos/zip", { model: state.model, ...form(), photos })).blob(), "coloured.zip");
  say("The ZIP file is saved.");
}

function render() {
  for (const id of ["download", "settings", "zip"]) byId(id).disabled = !state.current;
}

export function startSaving() {
  byId("download").addEventListener("click", () => busy("download", download));
  byId("settings").addEventListener("click", () => busy("settings", saveSettings));
  byId("zip").addEventListener("click", () => busy("zip", zip));
  state.on("current photos", render);
}
