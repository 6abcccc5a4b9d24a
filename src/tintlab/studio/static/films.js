// Films: their key frames are photographs of the list, to be hinted at; the film is coloured in the background.

import { ask, post } from "./api.js";
import { byId, element, say } from "./dom.js";
import { state } from "./state.js";

const POLL_MILLISECONDS = 700;
const NAMES = /\.(mp4|m4v|mov|mkv|avi|mpe?g|webm|mts|dv)$/i;
const SIDE = 1600;

export const isFilm = (file) => file.type.startsWith("video/") || NAMES.test(file.name ?? "");

export async function addFilm(file) {
  const headers = { "Content-Type": "application/octet-stream" };
  const facts = await (await ask("/v1/films", { method: "POST", headers, body: file })).json();
  const film = { ...facts, name: file.name || "film", progress: { state: "open" } };
  for (const { shot, id } of facts.photos) {
    // What is sent once more, should the server forget the photograph.
    const picture = await (await ask(`/v1/photos/${id}/grey?side=${SIDE}`)).blob();
    state.add({ id, shot, film, file: picture, name: `Shot ${shot}: ${film.name}` });
  }
  const shown = facts.photos.length < facts.shots ? `, the first ${facts.photos.length} are in the list` : "";
  say(`${film.name}: ${facts.frames} frames, ${facts.shots} ${facts.shots === 1 ? "shot" : "shots"}${shown}`);
}

/** Close a film when the last of its key frames has left the list. */
export function closeFilm(film) {
  if (state.photos.some((photo) => photo.film === film)) return;
  film.isClosed = true;
  ask(`/v1/films/${film.id}`, { method: "DELETE" }).catch(() => {});
}

const shown = () => state.current?.film;
const isBusy = (film) => ["waiting", "colouring"].includes(film.progress.state);

async function colour() {
  const film = shown();
  const shots = state.photos.filter((photo) => photo.film === film).map(({ shot, look }) => ({ shot, look }));
  try {
    film.progress = await (await post(`/v1/films/${film.id}/colour`, { model: state.model, shots })).json();
    render();
    follow(film);
  } catch (error) {
    say(`${film.name}: ${error.message}`, true);
  }
}

async function follow(film) {
  while (isBusy(film) && !film.isClosed) {
    await new Promise((resolve) => { setTimeout(resolve, POLL_MILLISECONDS); });
    try {
      film.progress = await (await ask(`/v1/films/${film.id}`)).json();
    } catch (error) {
      film.progress = { state: "failed", fault: error.message };
    }
    render();
  }
}

async function cancel() {
  const film = shown();
  await post(`/v1/films/${film.id}/cancel`, {}).catch((error) => say(error.message, true));
}

function download() {
  element("a", { href: `/v1/films/${shown().id}/file`, download: "" }).click();
}

const time = (seconds) => (seconds >= 90 ? `${Math.round(seconds / 60)} min` : `${seconds} s`);

function sentence({ state: now, done, frames, rate, seconds_left: left, fault }) {
  if (now === "waiting") return "Waits for another film.";
  if (now === "colouring" && left === null) return "Looking at the film …";
  if (now === "colouring") return `${done} of ${frames} frames, ${rate.toFixed(1)} a second, about ${time(left)} left`;
  if (now === "done") return `${frames} frames are coloured.`;
  if (now === "cancelled") return "Cancelled. It goes on from there, unless hints or the model change.";
  if (now === "failed") return fault;
  return "Hints hold from the first frame of their shot. Variants and sliders don't count for films.";
}

function render() {
  const film = shown();
  byId("film").hidden = !film;
  if (!film) return;
  const { progress } = film;
  byId("film-name").textContent = film.name;
  byId("film-words").textContent = sentence(progress);
  byId("film-words").classList.toggle("fault", progress.state === "failed");
  byId("film-bar").hidden = !isBusy(film);
  byId("film-bar").max = progress.frames || 1;
  byId("film-bar").value = progress.done || 0;
  byId("film-colour").disabled = isBusy(film);
  byId("film-cancel").disabled = !isBusy(film);
  byId("film-download").disabled = progress.state !== "done";
}

export function startFilms() {
  byId("film-colour").addEventListener("click", colour);
  byId("film-cancel").addEventListener("click", cancel);
  byId("film-download").addEventListener("click", download);
  state.on("photos current", render);
}
