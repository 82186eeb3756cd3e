import type { BusModel } from "worker-host/contract/bus.ts";
import { quote } from "worker-host/contract/command.ts";
import { type Device, type DeviceRole, mayDo, NOT_PAIRED } from "worker-host/contract/devices.ts";
import { describeError } from "worker-host/contract/errors.ts";
import { MOST_JSON_LEVELS } from "worker-host/contract/limits.ts";
import { isDeeperThan, jsonIn } from "worker-host/contract/payload.ts";
import type { WebSocket } from "ws";
import { LONGEST_ID, now, type Verb } from "./verbs.ts";

export interface RpcClientOptions {
  socket: WebSocket;
  /** The paired device that it is; `undefined` on this machine. */
  device: Device | undefined;
  verbs: ReadonlyMap<string, Verb>;
  /** What the bus says; another one after the broker was away. */
  bus: () => BusModel;
  /** Whether the broker is there. */
  connected: () => boolean;
  /** How much waits to be read by all clients, in bytes. */
  waitingBytes: () => number;
  /** Counts the long frames of all clients: no verb needs one, and to read it takes some ms. */
  longFrames: Rate;
}

/** Of the frame of a command that acts, in letters. */
const LONGEST_ACT = 65_536;
const LONGEST_ERROR = 2_000;
const ACTS_PER_S = 20;
const FRAMES_PER_S = 200;
/** Of those that are longer than a command that acts, of all clients together. */
export const LONG_FRAMES_PER_S = 5;
/** A client that reads less than is waiting for it is told of values later. */
const WAITING_BYTES = 262_144;
/** A client that reads still less is cut: results are never dropped. */
const MOST_WAITING_BYTES = 16 * 1_048_576;
const MOST_WAITING_FRAMES = 1_000;
/** Where more than that waits for all clients together, none may have more than `WAITING_BYTES`. */
const CROWDED_BYTES = 64 * 1_048_576;
const MOST_LARGE = 2;
/** A command whose id was seen so lately is not run again. */
const SEEN_MS = 60_000;
const MOST_SEEN = 1_000;
const MOST_SEEN_BYTES = 1_048_576;

const TOO_SLOW = 1013;
const TOO_MUCH = 1008;

interface Answer {
  at: number;
  /** The frame; `undefined` while the command runs. */
  frame: string | undefined;
}

/** One socket of `/rpc/`: commands in, one answer to each; and, once it watches, what is new on the bus. */
export class RpcClient {
  #watched: { bus: BusModel; seq: number; connected: boolean } | undefined;
  #waitingFrames = 0;
  readonly #answers = new Map<string, Answer>();
  #answerBytes = 0;
  /** How many verbs with large results are under way. */
  #large = 0;
  readonly #acts = new Rate(ACTS_PER_S);
  readonly #frames = new Rate(FRAMES_PER_S);

  constructor(private readonly options: RpcClientOptions) {
    const { socket } = options;
    socket.on("message", (data, isBinary) => {
      const isLong = (data as Buffer).length > LONGEST_ACT;
      if (!this.#frames.take()) this.#cut(`more than ${FRAMES_PER_S} messages a second`);
      else if (isLong && !options.longFrames.take()) this.#cut("too many long messages a second");
      else if (!isBinary) this.#receive(String(data));
    });
    // `close` follows.
    socket.on("error", () => socket.terminate());
  }

  /** On this machine, everybody is author. */
  get role(): DeviceRole {
    return this.options.device?.role ?? "author";
  }

  get device(): string | undefined {
    return this.options.device?.name;
  }

  /** Leaves it, unless its device is still paired. */
  refuseUnpaired(isPaired: (device: Device) => boolean): void {
    const { device, socket } = this.options;
    if (!device || isPaired(device)) return;
    // What it says in answer to that is not heard.
    socket.removeAllListeners("message");
    socket.close(NOT_PAIRED, "this device is not paired any more");
  }

  /** Closes it, and reads no more of what it sends: it has a second to hear why. */
  #cut(why: string): void {
    const { socket } = this.options;
    socket.close(TOO_MUCH, why);
    socket.pause();
    setTimeout(() => socket.terminate(), 1_000).unref();
  }

  /** From now on it is told of what changes; first of all that is known. */
  watch(): void {
    this.#watched = { bus: this.options.bus(), seq: -1, connected: this.options.connected() };
    // After the answer to the command that asked for it.
    setImmediate(() => this.tell());
  }

  /** Tells it what is new, unless it doesn't read what it was told before. */
  tell(): void {
    const watched = this.#watched;
    if (!watched || this.options.socket.bufferedAmount > WAITING_BYTES) return;
    const [bus, connected] = [this.options.bus(), this.options.connected()];
    const isNew = bus !== watched.bus || watched.seq === -1;
    if (isNew && this.options.waitingBytes() > CROWDED_BYTES) return;
    const { seq, changes, leftOut } = bus.since(isNew ? 0 : watched.seq);
    if (!isNew && seq === watched.seq && connected === watched.connected) return;
    this.#watched = { bus, seq, connected };
    const data = { whole: isNew, now: now(), connected, leftOut, changes };
    this.#send(JSON.stringify({ type: "busevent", event: "update", data }));
  }

  #receive(text: string): void {
    const frame = jsonIn(text) as Partial<Record<string, unknown>> | null | undefined;
    if (typeof frame !== "object" || frame === null) return;
    if (frame.type === "ping") this.#send(JSON.stringify({ type: "pong", now: now() }));
    if (frame.type !== "cmd") return;
    const { cmd = "", id = null } = frame;
    if (typeof cmd !== "string") {
      this.#send(frameOfError({ cmd: null, id: null }, `cmd is ${quote(cmd)}; expected a text, such as "hello"`));
      return;
    }
    const about = { cmd: cmd.slice(0, 100), id: null };
    // What is always taken is run each time that it comes.
    if (id === null || this.options.verbs.get(cmd)?.always) {
      const own = typeof id === "string" ? id : null;
      void this.#run({ ...about, id: own }, frame.kwargs, text.length).then((answer) => this.#send(answer));
      return;
    }
    if (typeof id !== "string" || id.length > LONGEST_ID) {
      const fault = `id is ${quote(id)}; expected a text of ${LONGEST_ID} characters at most, or none`;
      this.#send(frameOfError(about, fault));
      return;
    }
    const known = this.#answers.get(id);
    if (known) {
      if (known.frame !== undefined) this.#send(known.frame);
      return;
    }
    const answer: Answer = { at: now(), frame: undefined };
    this.#remember(id, answer);
    // Begun in the order in which they came; none waits for another.
    void this.#run({ ...about, id }, frame.kwargs, text.length).then((ran) => {
      answer.frame = ran;
      this.#answerBytes += ran.length;
      this.#send(ran);
    });
  }

  /** Runs a command, and gives the frame of its answer; never rejects. */
  async #run(about: About, kwargs: unknown, length: number): Promise<string> {
    try {
      const result = await this.#call(about.cmd ?? "", kwargs, length);
      return JSON.stringify({ type: "result", result: result ?? null, ...about });
    } catch (error) {
      return frameOfError(about, error instanceof Error ? error.message : describeError(error));
    }
  }

  #call(cmd: string, kwargs: unknown, length: number): unknown {
    const { verbs } = this.options;
    const verb = verbs.get(cmd);
    if (!verb) throw new Error(`Unknown command ${cmd} , available commands: ${[...verbs.keys()].sort().join(", ")}`);
    if (!mayDo(this.role, verb.role)) throw new Error(`${cmd}: needs the role "${verb.role}"`);
    const acts = verb.role !== "viewer" && !verb.always;
    if (acts && length > LONGEST_ACT) throw new Error(`${cmd}: ${length} letters; at most ${LONGEST_ACT}`);
    if (acts && !this.#acts.take()) throw new Error(`${cmd}: more than ${ACTS_PER_S} a second; press again`);
    if (isDeeperThan(kwargs, MOST_JSON_LEVELS))
      throw new Error(`${cmd}: its kwargs are nested more than ${MOST_JSON_LEVELS} levels deep`);
    const parsed = verb.kwargs.safeParse(kwargs === undefined ? {} : kwargs);
    if (!parsed.success) {
      const faults = parsed.error.issues.map(({ path, message }) => [...path.map(String), message].join(": "));
      throw new Error(`${cmd}: ${faults.join("; ")}`);
    }
    return verb.large ? this.#runLarge(cmd, () => verb.run(parsed.data, this)) : verb.run(parsed.data, this);
  }

  async #runLarge(cmd: string, run: () => unknown): Promise<unknown> {
    if (this.#large >= MOST_LARGE || this.options.socket.bufferedAmount > WAITING_BYTES)
      throw new Error(`${cmd}: read first what you asked for before`);
    this.#large++;
    try {
      return await run();
    } finally {
      this.#large--;
    }
  }

  #remember(id: string, answer: Answer): void {
    for (const [old, { at, frame }] of this.#answers) {
      const isFull = this.#answers.size >= MOST_SEEN || this.#answerBytes > MOST_SEEN_BYTES;
      if (!isFull && now() - at < SEEN_MS) break;
      this.#answers.delete(old);
      this.#answerBytes -= frame?.length ?? 0;
    }
    this.#answers.set(id, answer);
  }

  #send(frame: string): void {
    const { socket } = this.options;
    if (socket.readyState !== socket.OPEN) return;
    const most = this.options.waitingBytes() > CROWDED_BYTES ? WAITING_BYTES : MOST_WAITING_BYTES;
    if (this.#waitingFrames >= MOST_WAITING_FRAMES || socket.bufferedAmount > most) {
      socket.close(TOO_SLOW, "too slow");
      return;
    }
    this.#waitingFrames++;
    socket.send(frame, () => {
      this.#waitingFrames--;
    });
  }
}

/** What an answer says of the command that it is for. */
interface About {
  cmd: string | null;
  id: string | null;
}

function frameOfError(about: About, words: string): string {
  return JSON.stringify({ type: "error", error: words.slice(0, LONGEST_ERROR), tb: [], ...about });
}

/** So many in each second. */
export class Rate {
  #since = 0;
  #taken = 0;

  constructor(private readonly perSecond: number) {}

  take(): boolean {
    if (now() - this.#since >= 1_000) {
      this.#since = now();
      this.#taken = 0;
    }
    return ++this.#taken <= this.perSecond;
  }
}
