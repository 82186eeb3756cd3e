import { type BoardState, parseDescribed } from "../../contract/description.ts";
import { decodeText } from "../../contract/payload.ts";
import { faultOfId } from "../../contract/topics.ts";
import type { Message } from "../../mqtt/wire.ts";
import { type IsThereOptions, isThere } from "./neighbours.ts";

export interface BoardsOptions extends Omit<IsThereOptions, "asker"> {
  /** A board says at this moment that it is there, for the first time since it was last gone. */
  onAppeared: (id: string) => void;
  /** Somebody was found under that id, and may be gone. */
  onFree: (id: string) => void;
  /** How an id is shown has changed. */
  onChange: (id: string) => void;
}

/** What the broker shows of an id. */
export interface Shown {
  availability: "online" | "offline" | undefined;
  described: boolean;
  /** It says that it knows `stop`. */
  stops: boolean;
  isHost: boolean;
  /** What kind of board it says it is. */
  chip: string | undefined;
  /** The address of the page that it serves now. */
  page: string | undefined;
  /** It was told of that it appeared. */
  told: boolean;
}

const NOTHING: Shown = {
  availability: undefined,
  described: false,
  stops: false,
  isHost: false,
  chip: undefined,
  page: undefined,
  told: false,
};

/** Strangers may publish under any id. */
const MOST_IDS = 10_000;

/** Who is shown online, boards and others, so that no worker starts under the id of one that is there. */
export class Boards {
  readonly #shown = new Map<string, Shown>();
  /** Under which somebody was found, or is being asked. */
  readonly #taken = new Set<string>();

  constructor(private readonly options: BoardsOptions) {}

  async start(): Promise<void> {
    const { wire, topics } = this.options;
    await wire.subscribe(topics.availabilities, (message) => this.#hearAvailability(message));
    await wire.subscribe(topics.descriptions, (message) => this.#hearDescription(message));
  }

  /** To be called each time that the connection has come up: who left meanwhile may have left nothing to hear. */
  up(): void {
    for (const id of [...this.#taken]) this.options.onFree(id);
  }

  /** To be called when the connection is gone: the next one shows who is online then. */
  down(): void {
    for (const shown of this.#shown.values()) if (shown.availability === "online") shown.availability = "offline";
  }

  /** What the broker shows of all ids but hosts of this name. */
  get all(): ReadonlyMap<string, Shown> {
    return this.#shown;
  }

  /** How an id is shown; `undefined` where nothing of it was seen. */
  stateOf(id: string): Exclude<BoardState, "missing"> | undefined {
    const shown = this.#shown.get(id);
    return shown && (shown.availability ?? "offline");
  }

  /** Whether an id says of itself that it is a board. */
  isBoard(id: string): boolean {
    return this.#shown.get(id)?.chip !== undefined;
  }

  /** Whether somebody is there under an id that no worker of ours has now; that the broker shows it is not enough. */
  async has(id: string): Promise<boolean> {
    if (this.stateOf(id) !== "online" && !this.#taken.has(id)) return false;
    this.#taken.add(id);
    // Who can't be asked is taken to be there until the next connection.
    if ((await isThere(id, { ...this.options, asker: this.options.topics.hostName })) !== false) return true;
    this.#taken.delete(id);
    this.#show(id, { availability: "offline" });
    return false;
  }

  #hearAvailability({ topic, payload }: Message): void {
    const id = this.#idOf(topic);
    if (id === undefined) return;
    if (payload.length === 0) this.#show(id, { availability: undefined, told: false });
    else if (decodeText(payload) === "online") this.#show(id, { availability: "online" });
    else this.#show(id, { availability: "offline", told: false });
    if (this.stateOf(id) !== "online" && this.#taken.delete(id)) this.options.onFree(id);
  }

  #hearDescription({ topic, payload, retain }: Message): void {
    const id = this.#idOf(topic);
    if (id === undefined) return;
    const { chip, stops, isHost, page } = parseDescribed(payload, id);
    const appears = chip !== undefined && !retain && !this.#shown.get(id)?.told;
    this.#show(id, {
      described: payload.length > 0,
      chip,
      stops,
      isHost,
      page: retain ? undefined : page,
      ...(appears ? { told: true } : {}),
    });
    if (appears) this.options.onAppeared(id);
  }

  #show(id: string, change: Partial<Shown>): void {
    const before = this.stateOf(id);
    if (before === undefined && this.#shown.size >= MOST_IDS) return;
    const shown = { ...(this.#shown.get(id) ?? NOTHING), ...change };
    if (shown.availability === undefined && !shown.described) this.#shown.delete(id);
    else this.#shown.set(id, shown);
    if (this.stateOf(id) !== before) this.options.onChange(id);
  }

  #idOf(topic: string): string | undefined {
    const { topics } = this.options;
    const id = topics.idOf(topic);
    return id === undefined || faultOfId(id, topics.hostName) !== undefined ? undefined : id;
  }
}
