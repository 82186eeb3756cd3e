import { closeSync, createReadStream, openSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Clock } from "../base/clock.ts";
import { messageOf, WorkerHostError } from "../contract/errors.ts";
import { decodeText, jsonIn, printableJson } from "../contract/payload.ts";
import { assertTopicName } from "../contract/topics.ts";
import type { Message } from "../mqtt/wire.ts";

/** A recorded message. */
export interface Recorded {
  /** Since the start. */
  ms: number;
  topic: string;
  payload: Uint8Array;
  qos: 0 | 1;
  retain: boolean;
}

const VERSION = 1;
const LONGEST_LINE = 16 * 1_048_576;

/** A payload as JSON has it: text, or base64 where it is none. */
export function payloadInJson(payload: Uint8Array): { payload: string } | { base64: string } {
  const text = decodeText(payload);
  return text === undefined ? { base64: Buffer.from(payload).toString("base64") } : { payload: text };
}

/** Writes messages into a file, a line of JSON each, after one that says what it is. */
export class RecordingWriter {
  readonly #file: number;
  readonly #began: number;
  count = 0;

  /** @throws WorkerHostError `not_written` where the file is there already, or can't be written */
  constructor(
    private readonly path: string,
    prefix: string,
    private readonly clock: Clock,
  ) {
    this.#began = clock.monotonic();
    try {
      this.#file = openSync(path, "wx");
    } catch (cause) {
      const there = (cause as NodeJS.ErrnoException).code === "EEXIST";
      const why = there ? "it is there already: name another one" : messageOf(cause);
      throw new WorkerHostError("not_written", `${path}: ${why}`, { cause });
    }
    this.#write({ recording: VERSION, prefix, started: new Date(clock.now()).toISOString() });
  }

  /** @throws WorkerHostError `not_written` */
  add({ topic, payload, qos, retain }: Message): void {
    const ms = Math.round(this.clock.monotonic() - this.#began);
    this.#write({ ms, topic, ...payloadInJson(payload), qos, retain });
    this.count++;
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(value: object): void {
    try {
      writeSync(this.#file, `${printableJson(JSON.stringify(value))}\n`);
    } catch (cause) {
      throw new WorkerHostError("not_written", `${this.path}: ${messageOf(cause)}`, { cause });
    }
  }
}

/**
 * Reads a recording: `onStart` is given its prefix.
 *
 * @throws WorkerHostError `invalid_value`, with the line, where it is none
 */
export async function* readRecording(path: string, onStart: (prefix: string) => void): AsyncGenerator<Recorded> {
  let number = 0;
  let last = 0;
  let started = false;
  try {
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Number.POSITIVE_INFINITY })) {
      number++;
      if (line.trim() === "") continue;
      const values = line.length > LONGEST_LINE ? undefined : jsonIn(line.replace(/^\ufeff/, ""));
      const fields = (typeof values === "object" && values !== null ? values : {}) as Record<string, unknown>;
      if (!started) onStart(prefixIn(fields));
      else {
        const message = messageIn(fields, last);
        last = message.ms;
        yield message;
      }
      started = true;
    }
    if (!started) prefixIn({});
  } catch (cause) {
    const fault = cause instanceof Fault ? `:${Math.max(1, number)}: ${cause.message}` : `: ${messageOf(cause)}`;
    if (cause instanceof Fault || (cause as NodeJS.ErrnoException).syscall !== undefined)
      throw new WorkerHostError("invalid_value", `${path}${fault}`, { cause });
    throw cause;
  }
}

class Fault extends Error {}

function prefixIn({ recording, prefix }: Record<string, unknown>): string {
  if (recording !== undefined && recording !== VERSION) {
    throw new Fault(`it is a recording of another version; this worker-host reads ${VERSION}`);
  }
  if (recording === VERSION && typeof prefix === "string") return prefix;
  throw new Fault('it is no recording: "npx worker-host watch --record" makes one');
}

function messageIn({ ms, topic, payload, base64, qos, retain }: Record<string, unknown>, last: number): Recorded {
  if (typeof ms !== "number" || !Number.isFinite(ms) || ms < last) {
    throw new Fault(`expected "ms" to be a number, ${last} or more, as the line before has it`);
  }
  if (typeof topic !== "string") throw new Fault('expected "topic" to be a text');
  try {
    assertTopicName(topic);
  } catch (error) {
    throw new Fault(messageOf(error));
  }
  const text = typeof payload === "string" ? Buffer.from(payload) : undefined;
  const bytes = text ?? (typeof base64 === "string" ? Buffer.from(base64, "base64") : undefined);
  if (!bytes) throw new Fault('expected "payload", or "base64", to be a text');
  if (qos !== 0 && qos !== 1) throw new Fault('expected "qos" to be 0 or 1');
  if (typeof retain !== "boolean") throw new Fault('expected "retain" to be true or false');
  return { ms, topic, payload: bytes, qos, retain };
}
