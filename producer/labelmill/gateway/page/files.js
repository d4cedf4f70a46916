// What was dropped or chosen: images, lines of a text file, and what is neither.

const MAX_TEXT_FILE_BYTES = 20 * 1024 * 1024;

/** Lines of one text file that the page takes; more are for `labelmill submit`. */
export const MAX_LINES = 50_000;

/** Images that the page takes at once. */
export const MAX_IMAGES = 2_000;

const IMAGE_NAME = /\.(jpe?g|png|webp|gif|bmp|tiff?)$/i;
const TEXT_NAME = /\.(txt|text|log)$/i;

/**
 * Sort files by what can be done with them.
 * @returns {{images: File[], texts: File[], refused: {name: string, reason: string}[]}}
 */
export function sorted(files) {
  const found = { images: [], texts: [], refused: [] };
  for (const file of files) {
    const reason = refusal(file);
    if (reason) found.refused.push({ name: file.name, reason });
    else if (isImage(file)) found.images.push(file);
    else found.texts.push(file);
  }
  for (const file of found.images.splice(MAX_IMAGES)) {
    found.refused.push({ name: file.name, reason: `at most ${MAX_IMAGES.toLocaleString("en")} `
      + "images at once; for more: labelmill submit MODEL FOLDER" });
  }
  return found;
}

function isImage(file) {
  return file.type ? file.type.startsWith("image/") : IMAGE_NAME.test(file.name);
}

function refusal(file) {
  if (/\.(csv|tsv|jsonl|parquet)$/i.test(file.name)) {
    return "a file with columns: labelmill submit MODEL FILE --text-column NAME takes it";
  }
  if (isImage(file)) return file.size ? null : "the file is empty";
  if (file.type !== "text/plain" && !TEXT_NAME.test(file.name)) {
    return "neither an image nor a text file";
  }
  return file.size > MAX_TEXT_FILE_BYTES
    ? "a text file may have 20 MiB here; for more: labelmill submit MODEL FILE" : null;
}

/**
 * The lines of a text file that are not blank.
 * @throws {Error} whose message can be shown
 */
export async function linesOf(file) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    throw new Error("it is not UTF-8: save it as UTF-8 and drop it again");
  }
  const lines = text.split(/\r\n|\n|\r/).map((line) => line.trim()).filter(Boolean);
  if (!lines.length) throw new Error("it has no line with text in it");
  if (lines.length > MAX_LINES) {
    throw new Error(`it has ${lines.length.toLocaleString("en")} lines; here up to `
      + `${MAX_LINES.toLocaleString("en")} are taken. For more: labelmill submit MODEL FILE`);
  }
  return lines;
}
