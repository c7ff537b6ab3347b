// The JSON interface.  Every change names the session's CSRF token.

let csrf = "";
let onLogin = () => {};

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// f is called when the server wants a login.
export function whenLoginNeeded(f) {
  onLogin = f;
}

async function ask(path, options) {
  let reply;
  try {
    reply = await fetch(path, { cache: "no-store", credentials: "same-origin",
                                redirect: "error", ...options });
  } catch {
    throw new ApiError(0, "the console does not answer; is it running?");
  }
  let body;
  try {
    body = await reply.json();
  } catch {
    throw new ApiError(reply.status, "the console's answer could not be read");
  }
  if (reply.status === 401) onLogin();
  if (!reply.ok) throw new ApiError(reply.status, body.error ?? "it failed");
  return body;
}

export function get(name, params = {}) {
  const query = new URLSearchParams(params);
  return ask(`/api/${name}?${query}`, { method: "GET" });
}

export function post(name, params = {}) {
  return ask(`/api/${name}`, { method: "POST", body: new URLSearchParams(params),
                               headers: { "X-CSRF-Token": csrf } });
}

function keep(session) {
  csrf = session.csrf;
  return session;
}

export const session = async () => keep(await get("session"));
export const login = async (token) => keep(await post("login", { token }));
