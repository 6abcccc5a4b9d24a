// Elements, and what is said to people. Text is always text: no markup is ever parsed.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

let clearing = 0;

export function say(text, isFault = false) {
  const status = byId("status");
  status.textContent = text;
  status.classList.toggle("fault", isFault);
  clearTimeout(clearing);
  if (!isFault) clearing = setTimeout(() => { status.textContent = ""; }, 8000);
}

/** Show a blob in an image, once it is decoded; its address goes with the next one. */
export async function showBlob(image, blob) {
  const address = URL.createObjectURL(blob);
  const probe = new Image();
  probe.src = address;
  await probe.decode();
  const before = image.dataset.address;
  image.src = image.dataset.address = address;
  image.hidden = false;
  if (before) URL.revokeObjectURL(before);
}

export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
