// Thumbnails: the page's own files before they are sent, the gateway's afterwards.

import { getBlob } from "./api.js";
import { el } from "./dom.js";
import { token } from "./token.js";

// Images that carry a token are fetched only when they come into sight.
const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    load(target);
  }
}, { rootMargin: "200px" });

/** The picture of a file that the reader has chosen. */
export function filePicture(file) {
  const image = picture();
  show(image, file);
  return image;
}

/** The picture of a job's input; nothing where it has none. */
export function jobPicture(job) {
  if (!job.thumbnail) return null;
  if (job.error?.code.startsWith("image_")) return missing(); // what no worker could read
  const image = picture();
  image.addEventListener("error", () => image.replaceWith(missing()), { once: true });
  if (token()) {
    image.dataset.path = job.thumbnail;
    sight.observe(image);
  } else {
    image.loading = "lazy";
    image.src = job.thumbnail;
  }
  return image;
}

function picture() {
  return el("img", { class: "thumbnail", alt: "", width: 64, height: 64, decoding: "async" });
}

function missing() {
  return el("span", { class: "thumbnail missing", title: "The image cannot be shown." }, "?");
}

async function load(image) {
  try {
    show(image, await getBlob(image.dataset.path));
  } catch {
    image.replaceWith(missing());
  }
}

function show(image, blob) {
  const url = URL.createObjectURL(blob);
  const forget = () => URL.revokeObjectURL(url);
  image.addEventListener("load", forget, { once: true });
  image.addEventListener("error", () => {
    forget();
    image.replaceWith(missing());
  }, { once: true });
  image.src = url;
}
