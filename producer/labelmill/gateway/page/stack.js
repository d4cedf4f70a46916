// What the page knows of the service: Redis, the database, the queues and who serves them.

import { get } from "./api.js";
import { counted } from "./format.js";
import { repeat } from "./waiting.js";

const INTERVAL_MS = 4_000;
const HURRIED_MS = 1_500; // while something is wrong, so that its end is seen soon

/** The state of the service, looked at every few seconds; fires `change` after each look. */
class Stack extends EventTarget {
  /** The answer of /v1/health, or null before the first. */
  health = null;

  /** The models with their queues, as last known. */
  models = [];

  /** When health was last read (a Date), or null. */
  readAt = null;

  /** Why the last look failed (a Problem), or null. */
  problem = null;

  /** When each trouble was noticed, by its name: gateway, redis, database. */
  #since = new Map();

  #modelsRead = false;

  /** Look every few seconds until the signal is aborted. */
  watch(signal) {
    return repeat(() => this.look(signal), () => (this.#since.size ? HURRIED_MS : INTERVAL_MS),
      signal);
  }

  /** Look now. */
  async look(signal) {
    try {
      this.health = await get("v1/health", signal);
      if (this.health.queues) this.models = this.health.queues;
      if (!this.#modelsRead && !this.health.queues) await this.#readModels(signal);
      this.readAt = new Date();
      this.problem = null;
    } catch (error) {
      this.problem = error;
    }
    this.#note("gateway", this.problem !== null);
    if (!this.problem) {
      this.#note("redis", this.health.redis === "away");
      this.#note("database", this.health.database === "away");
    }
    this.dispatchEvent(new Event("change"));
  }

  /** When a trouble was noticed (a Date), or null where there is none. */
  since(trouble) {
    return this.#since.get(trouble) ?? null;
  }

  /** The models that read texts, or those that read images. */
  ofKind(kind) {
    return this.models.filter((model) => model.kind === kind);
  }

  /** One model, or undefined. */
  model(name) {
    return this.models.find((model) => model.name === name);
  }

  /** Why a job of this model has no result yet, as far as can be known. */
  reason(name) {
    if (this.since("gateway")) return "the gateway does not answer; nothing can be said of it";
    if (this.since("redis")) return "Redis is away: it waits until Redis is back";
    if (this.since("database")) return "the database is away: it waits until it is back";
    const model = this.model(name);
    if (!model) return "queued";
    if (model.served === false) {
      const others = model.waiting > 1 ? ` (${counted(model.waiting, "job")} in its queue)` : "";
      return `no worker serves ${name}: it waits until one starts${others}`;
    }
    if (model.waiting > 1) return `waiting behind up to ${counted(model.waiting, "job")}`;
    return model.running ? "a worker is at it" : "queued";
  }

  async #readModels(signal) {
    const { models } = await get("v1/models", signal).catch(() => ({}));
    if (!models) return;
    this.models = models;
    this.#modelsRead = true;
  }

  #note(trouble, there) {
    if (!there) this.#since.delete(trouble);
    else if (!this.#since.has(trouble)) this.#since.set(trouble, new Date());
  }
}

export const stack = new Stack();
