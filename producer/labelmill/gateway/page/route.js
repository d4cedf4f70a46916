// Where the reader is: #/view/argument?parameters, so that back, forward and links work.

/** The current place: {view, argument, parameters}. */
export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [view, ...rest] = path.split("/");
  return {
    view: view || "label",
    argument: rest.length ? decoded(rest.join("/")) : null,
    parameters: new URLSearchParams(query),
  };
}

/** A link to a view. */
export function to(view, argument = null, parameters = {}) {
  const path = view === "label" ? "#/" : `#/${view}`;
  const query = parameters instanceof URLSearchParams
    ? parameters : new URLSearchParams(Object.entries(parameters));
  return path + (argument === null ? "" : `/${encodeURIComponent(argument)}`)
    + (query.size ? `?${query}` : "");
}

/** A link to the current place with some parameters changed; null takes one out. */
export function changed(changes, from = here()) {
  const parameters = new URLSearchParams(from.parameters);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") parameters.delete(name);
    else parameters.set(name, value);
  }
  return to(from.view, from.argument, parameters);
}

/** A link that opens a job's details over the current view. */
export const jobLink = (id) => changed({ job: id });

/** Go to a link without leaving a step for the back button. */
export function replace(link) {
  history.replaceState(null, "", link);
  window.dispatchEvent(new HashChangeEvent("hashchange"));
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a link that somebody cut off
  }
}
