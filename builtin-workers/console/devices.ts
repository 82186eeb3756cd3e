import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  DEVICES_FILE,
  type Device,
  isLinkGood,
  PAIR_COMMAND,
  readDevices,
  readTokens,
  TOKENS_FILE,
  writtenTokens,
} from "worker-host/contract/devices.ts";
import { messageOf } from "worker-host/contract/errors.ts";
import { now } from "./verbs.ts";

export interface DevicesOptions {
  /** Where the two files are. */
  folder: string;
  /** The clock on the wall: the command line, another process, says when a link was made. */
  wallClock: () => number;
  /** Writes a file in that folder, durably. */
  write: (name: string, text: string) => Promise<void>;
  /** Says what is wrong with a file. */
  warn: (text: string) => void;
}

const NO_DEVICES = '{"devices": []}';
const TOKEN_BYTES = 32;
/** How often one address may try a code that is none, in how long. */
const MOST_WRONG = 10;
const WRONG_MS = 60_000;
const MOST_ADDRESSES = 1_000;

/** Why a device is not paired, with the HTTP status that says so. */
export class PairingError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Which devices are paired: those that the command line has let in, and that have used their link. */
export class Devices {
  #text: string | undefined;
  #fault: string | undefined;
  #devices: ReadonlyMap<string, Device> = new Map();
  #tokens = new Map<string, string>();
  #writing = Promise.resolve();
  readonly #wrong = new Map<string, { since: number; count: number }>();

  constructor(private readonly options: DevicesOptions) {}

  start(): void {
    try {
      this.#tokens = readTokens(this.#read(TOKENS_FILE) ?? "{}");
    } catch (error) {
      this.options.warn(`${this.#path(TOKENS_FILE)}: ${messageOf(error)}: no device is paired; pair them anew`);
    }
    this.look();
  }

  /** Takes in what the command line has written. Where that can't be read, whoever is paired stays, and nobody is added. */
  look(): void {
    const before = this.#text;
    try {
      this.#text = undefined;
      this.#text = this.#read(DEVICES_FILE) ?? NO_DEVICES;
      if (this.#text === before) return;
      this.#devices = readDevices(this.#text);
      this.#fault = undefined;
    } catch (error) {
      const fault = `${this.#path(DEVICES_FILE)}: ${messageOf(error)}: no device is added; mend it, or delete it and pair them anew`;
      if (fault !== this.#fault) this.options.warn(fault);
      this.#fault = fault;
    }
  }

  /** Whether it is still paired. */
  has({ name, code }: Device): boolean {
    return this.#devices.get(name)?.code === code && this.#tokens.has(code);
  }

  /** The one that a token was given to. */
  deviceOf(token: string): Device | undefined {
    this.look();
    const given = hashOf(token);
    return [...this.#devices.values()].find(({ code }) => isSame(this.#tokens.get(code), given));
  }

  /**
   * Pairs a device by the code of its link, and gives its token, once that is kept.
   *
   * @param from the address that it comes from
   * @throws PairingError
   */
  async pair(code: string, from: string): Promise<string> {
    this.look();
    if (this.#fault !== undefined) throw new PairingError(503, `${DEVICES_FILE} can't be read: look at the log`);
    if (this.#hasGuessed(from)) throw new PairingError(429, "too many wrong links: wait a minute");
    const given = hashOf(code);
    const meant = [...this.#devices.values()].find((device) => isSame(device.code, given));
    if (!meant || this.#tokens.has(meant.code) || !isLinkGood(meant, this.options.wallClock())) {
      this.#countGuess(from);
      throw new PairingError(403, `this link is no good any more: make another one with "${PAIR_COMMAND}"`);
    }
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    // Used up from now on, whether or not it is kept.
    this.#tokens.set(meant.code, hashOf(token));
    await this.#write().catch((error: Error) => {
      this.options.warn(`${this.#path(TOKENS_FILE)} can't be written: ${error.message}`);
      throw new PairingError(503, "the pairing can't be kept: look at the log");
    });
    return token;
  }

  /** One time after the other; without those of devices that are revoked. */
  #write(): Promise<void> {
    const known = new Set([...this.#devices.values()].map(({ code }) => code));
    for (const code of this.#tokens.keys()) if (!known.has(code)) this.#tokens.delete(code);
    this.#writing = this.#writing
      .catch(() => {})
      .then(() => this.options.write(TOKENS_FILE, writtenTokens(this.#tokens)));
    return this.#writing;
  }

  #hasGuessed(from: string): boolean {
    const wrong = this.#wrong.get(from);
    return wrong !== undefined && now() - wrong.since < WRONG_MS && wrong.count >= MOST_WRONG;
  }

  #countGuess(from: string): void {
    const before = this.#wrong.get(from);
    const isOld = !before || now() - before.since >= WRONG_MS;
    // The one that began longest ago goes.
    for (const [first] of this.#wrong) if (this.#wrong.size >= MOST_ADDRESSES) this.#wrong.delete(first);
    if (isOld) this.#wrong.delete(from);
    this.#wrong.set(from, isOld ? { since: now(), count: 1 } : { ...before, count: before.count + 1 });
  }

  #path(name: string): string {
    return join(this.options.folder, name);
  }

  /** `undefined` where there is none. */
  #read(name: string): string | undefined {
    try {
      return readFileSync(this.#path(name), "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  }
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Whether two hashes are the same; takes as long where they are not. */
function isSame(known: string | undefined, given: string): boolean {
  return known !== undefined && timingSafeEqual(Buffer.from(known), Buffer.from(given));
}
