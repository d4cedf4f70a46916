// What to do about a failed job: the table of docs/reference/errors.md, for the page.

const ADVICE = {
  invalid_message: "Send it with Celery's JSON serializer, uncompressed.",
  unknown_task: "Another task's message lies in this model's queue: send it to a queue of its own.",
  invalid_job: "An argument is missing, unknown or of the wrong type: correct it and send it anew.",
  unsupported_version: "Client and worker are of different versions: upgrade the older one.",
  wrong_input_kind: "A text went to an image model, or the reverse: choose the right model.",
  text_too_large: "A text may have 256 KiB of UTF-8: split it.",
  image_too_large: "Scale the image down or crop it, or let the operator raise the limit.",
  image_unreadable: "Open the file yourself: it may be damaged. JPEG and PNG are read by all models.",
  image_forbidden: "Workers may not read from there: upload the image, or let the operator allow it.",
  image_not_found: "There is no such file or object any more: check its address, or upload it.",
  image_unavailable: "The image's host did not answer, or only with an error of its own: replay it "
    + "later.",
  non_finite: "The model gave a score that is no number: the operator can try dtype = \"float32\".",
  model_failed: "The model raised for this job alone: the worker's log says where.",
  out_of_memory: "The device has too little memory for this job alone: use a larger device.",
  unstorable: "The database refused this job's labels or scores: the worker's log says why.",
  expired: "Its time had passed before a worker was free: add workers, or allow more time.",
  revoked: "It was revoked before it was started; send it again if it is wanted after all.",
  poisoned: "Its worker died each time it was in hand. It is kept among the dead letters: "
    + "replay it once the cause is mended.",
};

/** What to do about an error code; for codes of later versions, where to look. */
export function adviceFor(code) {
  return ADVICE[code] ?? "The worker's log says more.";
}

/** All error codes, for the filter. */
export const ERROR_CODES = Object.keys(ADVICE);
