// The list of photographs: dropped, pasted or chosen.

import { ask, upload } from "./api.js";
import { byId, element, say } from "./dom.js";
import { addFilm, closeFilm, isFilm } from "./films.js";
import { state } from "./state.js";

const THUMBNAIL = 128;

async function add(files) {
  for (const file of files) {
    const name = file.name || "pasted";
    say(`Reading ${name} …`);
    try {
      if (isFilm(file)) {
        await addFilm(file);
        continue;
      }
      const facts = await upload(file);
      state.add({ ...facts, file, name });
      say([`${name}: ${facts.width} × ${facts.height} pixels`, ...facts.notes].join("; "));
    } catch (error) {
      say(`${name}: ${error.message}`, true);
    }
  }
}

async function showThumbnail(photo, image) {
  try {
    const response = await ask(`/v1/photos/${photo.id}/grey?side=${THUMBNAIL}`);
    photo.thumbnail = URL.createObjectURL(await response.blob());
    image.src = photo.thumbnail;
  } catch { /* The list does without. */ }
}

function entry(photo) {
  const image = element("img", { alt: "", width: 48, height: 48 });
  if (photo.thumbnail) image.src = photo.thumbnail;
  else showThumbnail(photo, image);
  const open = element(
    "button",
    { type: "button", className: "photo", "aria-pressed": photo === state.current, onclick: () => state.select(photo) },
    image, element("span", {}, photo.name),
  );
  const close = element(
    "button",
    { type: "button", className: "close", "aria-label": `Remove ${photo.name} from the list`, onclick: () => remove(photo) },
    "×",
  );
  return element("li", {}, open, close);
}

function remove(photo) {
  state.remove(photo);
  ask(`/v1/photos/${photo.id}`, { method: "DELETE" }).catch(() => {});
  if (photo.film) closeFilm(photo.film);
  byId("choose").focus();
}

function render() {
  byId("photos").replaceChildren(...state.photos.map(entry));
  byId("list-hint").hidden = state.photos.length > 1;
  byId("empty").hidden = state.photos.length > 0;
}

export function startPhotos() {
  state.on("photos current", render);
  byId("choose").addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = "";
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (!event.target.closest?.("aside")) add([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) add(files);
  });
}
