// The bearer token: kept for this tab alone, asked for when the gateway wants one.

const KEY = "labelmill-token";

let asking = null;

/** The token of this tab, or null. */
export function token() {
  return sessionStorage.getItem(KEY);
}

/** Forget the token and begin anew. */
export function forgetToken() {
  sessionStorage.removeItem(KEY);
  location.reload();
}

/**
 * Ask for a token, once however many requests need one.
 * @param {string} refused the token with which the request was refused, or null
 * @returns {Promise<boolean>} whether there is another token now
 */
export function askToken(refused) {
  if (token() && token() !== refused) return Promise.resolve(true);
  asking ??= ask(refused).finally(() => { asking = null; });
  return asking;
}

function ask(refused) {
  const dialog = document.getElementById("token");
  const field = document.getElementById("token-value");
  document.getElementById("token-why").textContent = refused
    ? "It did not accept the token of this tab: it may be mistyped, revoked or expired."
    : "Paste one with the scopes submit and read; replaying dead letters needs admin too.";
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const done = new AbortController();
    const listen = (id, type, listener) => document.getElementById(id)
      .addEventListener(type, listener, { signal: done.signal });
    listen("token-form", "submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, field.value.trim());
      dialog.close("given");
    });
    listen("token-cancel", "click", () => dialog.close(""));
    listen("token", "cancel", () => { dialog.returnValue = ""; });
    listen("token", "close", () => {
      done.abort();
      field.value = "";
      resolve(dialog.returnValue === "given");
      dialog.returnValue = "";
    });
  });
}
