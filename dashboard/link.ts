import { signal } from "@preact/signals";
import type { Change } from "../worker-host/contract/bus.ts";
import { type DeviceRole, NOT_PAIRED } from "../worker-host/contract/devices.ts";

/** What the console says of the bus. */
export interface Update {
  /** It is all that is known: what was known before is to be forgotten. */
  whole: boolean;
  /** Whether the console has a broker. */
  connected: boolean;
  leftOut: number;
  changes: Change[];
}

/** What the console says of itself. */
export interface Hello {
  haunt: { prefix: string; host: string };
  role: DeviceRole;
  /** What this device is called, if it is paired; on the console's own machine it need not be. */
  device?: string;
}

export interface LinkEvents {
  /** A socket has opened: a new one each time. */
  onUp: () => void;
  onUpdate: (update: Update) => void;
}

const PING_MS = 500;
/** With no word from the console for so long, nothing on the page counts as true. */
const LOST_MS = 1_500;
/** With no word for still longer, another socket is tried. */
const DEAD_MS = 6_000;
const RETRY_MS = 300;
/** How long a console that has said that it ends may take to come back. */
const RESTART_MS = 5_000;
/** What a server says that ends (RFC 6455, 7.4.1). */
const GOING_AWAY = 1001;
const LONGEST_RESULT = 100;
/** How far two clocks may part between two pings. */
const DRIFT_MS = 1;

interface Waiting {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/**
 * The socket to the console, made again and again. It asks each time who is there and what is known, and sends nothing else
 * by itself: a command is sent once, on the socket that is open then, or not at all.
 */
export class Link {
  /** Since when there was no word from the console, by this page's clock; `undefined` while there is. */
  readonly lostSince = signal<number | undefined>(performance.now());
  /** The console has said, some seconds ago at most, that it ends: another one is to come. */
  readonly restarting = signal(false);
  readonly roundTripMs = signal<number | undefined>(undefined);
  readonly hello = signal<Hello | undefined>(undefined);
  #socket: WebSocket | undefined;
  #heardAt = performance.now();
  #pingedAt: number | undefined;
  #count = 0;
  readonly #waiting = new Map<string, Waiting>();
  /** What the console's clock may show more than this page's: at least, at most. */
  #ahead: [number, number] | undefined;

  constructor(private readonly events: LinkEvents) {}

  start(): void {
    this.#connect();
    setInterval(() => this.#watch(), PING_MS / 2);
    setInterval(() => this.#ping(), PING_MS);
    document.addEventListener("visibilitychange", () => {
      this.#watch();
      this.#ping();
    });
    // A page that is kept aside for the Back button is no page.
    addEventListener("pagehide", () => this.#drop("the page was left"));
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.#connect();
    });
  }

  /**
   * A moment of this page's clock by the console's, in ms; `undefined` before the two were compared. The two are known to
   * differ by a range: of a press the earliest is taken, of the present the latest, so that nothing counts as too young.
   */
  onItsClock(moment: number, which: "earliest" | "latest"): number | undefined {
    return this.#ahead && moment + this.#ahead[which === "earliest" ? 0 : 1];
  }

  /**
   * Sends a command, and waits for its answer.
   *
   * @throws Error with the console's words, or that nothing was sent, or that the answer is not known
   */
  call(cmd: string, kwargs: object = {}): Promise<unknown> {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) {
      const why = this.restarting.value ? "restarting; press again" : "there is no link";
      return Promise.reject(new Error(`not sent: ${why}`));
    }
    const id = `${++this.#count}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      socket.send(JSON.stringify({ type: "cmd", cmd, kwargs, id }));
    });
  }

  /** Sends a command that acts: at once, with the moment of its press. */
  act(verb: string, kwargs: object, pressedAt: number): Promise<unknown> {
    return this.call(verb, { ...kwargs, pressed_at: this.onItsClock(pressedAt, "earliest") });
  }

  /**
   * Sends a command to a prop, and gives what it returned, in words.
   *
   * @throws Error with the prop's own words
   */
  async tell(id: string, action: string, pressedAt: number, args?: unknown): Promise<string> {
    try {
      const result = await this.act("tell", { id, action, args }, pressedAt);
      return result === null ? "done" : `done: ${JSON.stringify(result).slice(0, LONGEST_RESULT)}`;
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      throw new Error(words.replace(`${id} ${action}: `, "").replace(/^Error: /, ""));
    }
  }

  #connect(): void {
    if (this.#socket) return;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/rpc/`);
    this.#socket = socket;
    this.#heardAt = performance.now();
    const ifCurrent = (handle: () => void) => () => {
      if (this.#socket === socket) handle();
    };
    socket.onopen = ifCurrent(() => {
      this.#ping();
      this.events.onUp();
      void this.call("hello").then((hello) => {
        this.hello.value = hello as Hello;
      }, ignore);
      void this.call("watch").catch(ignore);
    });
    socket.onmessage = ({ data }) => ifCurrent(() => this.#receive(JSON.parse(String(data))))();
    socket.onclose = ({ code }) =>
      ifCurrent(() => {
        // Its server says then how it is paired.
        if (code === NOT_PAIRED) location.reload();
        if (code === GOING_AWAY) this.restarting.value = true;
        this.#drop("the link was lost", RETRY_MS);
      })();
  }

  /** Leaves the socket; what was sent on it may have been done or not. */
  #drop(why: string, retryMs?: number): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#pingedAt = undefined;
    socket?.close();
    this.lostSince.value ??= this.#heardAt;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new Error(`${why}: look whether it was done`));
    if (retryMs !== undefined) setTimeout(() => this.#connect(), retryMs);
  }

  #watch(): void {
    const silentMs = performance.now() - this.#heardAt;
    if (performance.now() - (this.lostSince.value ?? this.#heardAt) > RESTART_MS) this.restarting.value = false;
    if (silentMs > LOST_MS) this.lostSince.value ??= this.#heardAt;
    if (silentMs > DEAD_MS && this.#socket) this.#drop("the link was lost", 0);
  }

  #ping(): void {
    if (this.#socket?.readyState !== WebSocket.OPEN || this.#pingedAt !== undefined) return;
    this.#pingedAt = performance.now();
    this.#socket.send('{"type":"ping"}');
  }

  #receive(frame: Record<string, unknown>): void {
    const { type, id, result, error } = frame;
    if (type === "pong") this.#pong(Number(frame.now));
    else if (type === "busevent") this.events.onUpdate(frame.data as Update);
    const waiting = this.#waiting.get(String(id));
    if (!waiting || (type !== "result" && type !== "error")) return;
    this.#waiting.delete(String(id));
    if (type === "result") waiting.resolve(result);
    else waiting.reject(new Error(String(error)));
  }

  #pong(itsNow: number): void {
    const now = performance.now();
    const pingedAt = this.#pingedAt ?? now;
    this.#pingedAt = undefined;
    this.#heardAt = now;
    const [least, most] = this.#ahead ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    const [low, high] = [Math.max(least - DRIFT_MS, itsNow - now), Math.min(most + DRIFT_MS, itsNow - pingedAt)];
    // Where the two don't meet, one of the clocks is another, or stood still.
    this.#ahead = low <= high ? [low, high] : [itsNow - now, itsNow - pingedAt];
    this.roundTripMs.value = now - pingedAt;
    this.lostSince.value = undefined;
    this.restarting.value = false;
  }
}

/** The next socket asks again. */
const ignore = () => {};
