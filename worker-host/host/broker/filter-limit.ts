import type { Client, Subscription } from "aedes";

/** A host alone may have some 1,000, one for each id that it asks whether it is there. */
const MAX_FILTERS = 5_000;
const MAX_LENGTH = 1024;

/** Counts the filters of each client, and bounds them. */
export class FilterLimit {
  readonly #filters = new WeakMap<Client, Set<string>>();

  /** Counts a filter to be subscribed to; gives why it is refused. */
  add(client: Client, { topic }: Subscription): string | undefined {
    if (topic.length > MAX_LENGTH) return `the filter has ${topic.length} characters, at most ${MAX_LENGTH} are taken`;
    if (topic.startsWith("$share/"))
      return "the embedded broker knows no shared subscriptions: use mosquitto for these";
    const filters = this.#filters.get(client) ?? new Set();
    this.#filters.set(client, filters);
    if (filters.size >= MAX_FILTERS && !filters.has(topic)) {
      return `it has ${MAX_FILTERS} filters, the most that a client may have; use "+" and "#"`;
    }
    filters.add(topic);
    return undefined;
  }

  remove(client: Client, topics: readonly string[]): void {
    const filters = this.#filters.get(client);
    for (const topic of topics) filters?.delete(topic);
  }
}
