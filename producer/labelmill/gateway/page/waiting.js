// Waiting: pauses that can be called off, and work that is repeated while somebody looks.

/** Resolve after some time, or reject at once when the signal is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    const stop = () => { clearTimeout(timer); reject(signal.reason); };
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** Resolve as soon as the tab can be seen. */
function seen(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true, signal });
    signal?.addEventListener("abort", resolve, { once: true });
  });
}

/**
 * Do a piece of work again and again, one after the other, until the signal is aborted; not while
 * the tab is hidden. The work handles its own errors.
 * @param {function(AbortSignal): Promise} work
 * @param {function(): number} interval milliseconds to the next time
 */
export async function repeat(work, interval, signal) {
  while (!signal.aborted) {
    await seen(signal);
    if (signal.aborted) return;
    await work(signal);
    await pause(interval(), signal).catch(() => {});
  }
}
