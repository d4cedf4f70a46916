// Numbers, times and durations as people read them.

const whole = new Intl.NumberFormat("en");
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

/** A count; an en dash where it is not known. */
export function count(number) {
  return number === null || number === undefined ? "–" : whole.format(number);
}

/** A count with its noun: "1 job", "12,300 jobs". */
export function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** A score of 0 to 1 as a percentage; never 100 % or 0 % for what only comes near. */
export function percent(score) {
  const shown = Math.round(score * 1000) / 10;
  if (shown === 100 && score < 1) return "> 99.9 %";
  if (shown === 0 && score > 0) return "< 0.1 %";
  return `${shown.toFixed(1)} %`;
}

/** Jobs a second, over the last minute. */
export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond > 0 && perSecond < 1) return `${tenth.format(perSecond * 60)} jobs/min`;
  return `${perSecond < 10 ? tenth.format(perSecond) : count(Math.round(perSecond))} jobs/s`;
}

/** A number of seconds: "3.2 s", "4 min 10 s", "2 h 5 min". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${tenth.format(seconds)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
}

/** Seconds between two times of the API; null where either is missing. */
export function between(earlier, later) {
  if (!earlier || !later) return null;
  return Math.max(0, (Date.parse(later) - Date.parse(earlier)) / 1000);
}

/** The time of day, and the date where it was not today. */
export function moment(time) {
  const date = new Date(time);
  return date.toDateString() === new Date().toDateString() ? clock.format(date) : day.format(date);
}

/** A time in full, for titles and details. */
export function inFull(time) {
  return full.format(new Date(time));
}

/** A size in bytes. */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} bytes`;
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} KiB`;
  return `${tenth.format(bytes / 1024 / 1024)} MiB`;
}
