// What the page knows: photographs, how each is to be coloured, the model; and who wants to hear of changes.

export const STEERS = [
  ["warm", "Warmth", "cooler", "warmer"],
  ["vivid", "Saturation", "paler", "more vivid"],
  ["green", "Green", "towards magenta", "towards green"],
  ["sky", "Sky", "less blue", "bluer"],
  ["foliage", "Foliage", "less green", "greener"],
];

/** The direction that a steer's name stands for; all but one are called the same. */
export const directionOf = (name) => (name === "vivid" ? "saturation" : name);

const MOST_STEPS_BACK = 200;

export const plainLook = () => ({
  seed: 0, variant: 0, warm: 0, vivid: 0, green: 0, sky: 0, foliage: 0, saturation: null, hints: [],
  like_strength: 0.75,
});

class State extends EventTarget {
  photos = [];
  current = null;
  models = [];
  model = "default";

  emit(name) {
    this.dispatchEvent(new Event(name));
  }

  on(names, listener) {
    for (const name of names.split(" ")) this.addEventListener(name, listener);
  }

  get look() {
    return this.current?.look;
  }

  get facts() {
    const of = this.models.find((model) => model.name === this.model);
    return of ?? {};
  }

  add(photo) {
    this.photos.push({ ...photo, look: plainLook(), past: [], future: [] });
    this.emit("photos");
    if (!this.current) this.select(this.photos[0]);
  }

  remove(photo) {
    this.photos = this.photos.filter((other) => other !== photo);
    if (this.current === photo) this.select(this.photos[0] ?? null);
    this.emit("photos");
  }

  select(photo) {
    this.current = photo;
    this.emit("current");
  }

  /** Show a change that is not decided yet, as while a slider moves. */
  preview(change) {
    if (!this.current) return;
    this.current.undecided ??= this.current.look;
    this.current.look = { ...this.current.look, ...change };
    this.emit("look-draft");
  }

  change(change) {
    const photo = this.current;
    if (!photo) return;
    photo.past.push(photo.undecided ?? photo.look);
    photo.past.splice(0, photo.past.length - MOST_STEPS_BACK);
    photo.undecided = null;
    photo.future = [];
    photo.look = { ...photo.look, ...change };
    this.emit("look");
  }

  undo() {
    this.#step("past", "future");
  }

  redo() {
    this.#step("future", "past");
  }

  #step(from, to) {
    const photo = this.current;
    if (!photo?.[from].length) return;
    photo[to].push(photo.look);
    photo.look = photo[from].pop();
    photo.undecided = null;
    this.emit("look");
  }
}

export const state = new State();
