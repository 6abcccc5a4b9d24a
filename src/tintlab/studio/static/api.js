// Requests to the studio's own server. Faults are problem details (RFC 9457): their sentence becomes the error.

const RETRIES = 5;

export class Fault extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

const pause = (seconds, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, 1000 * seconds);
  signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); });
});

export async function ask(path, options = {}, retries = RETRIES) {
  const response = await fetch(path, options);
  if (response.ok) return response;
  if (response.status === 503 && retries > 0) {
    await pause(Number(response.headers.get("Retry-After")) || 1, options.signal);
    return ask(path, options, retries - 1);
  }
  const problem = await response.json().catch(() => ({}));
  throw new Fault(response.status, problem.detail || `the server answers ${response.status}`);
}

export function post(path, content, signal) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(content), signal });
}

export async function upload(file) {
  const headers = { "Content-Type": "application/octet-stream" };
  return (await ask("/v1/photos", { method: "POST", headers, body: file })).json();
}

/** Ask about a photograph; one that the server has forgotten is sent once more. */
export async function askAbout(photo, what, content, signal) {
  try {
    return await post(`/v1/photos/${photo.id}/${what}`, content, signal);
  } catch (error) {
    if (error.status !== 404) throw error;
    photo.id = (await upload(photo.file)).id;
    return post(`/v1/photos/${photo.id}/${what}`, content, signal);
  }
}
