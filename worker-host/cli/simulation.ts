import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import fastGlob from "fast-glob";
import { parse } from "yaml";
import { z } from "zod";
import { within } from "../base/clock.ts";
import { packageFile } from "../base/paths.ts";
import { deferred } from "../base/promises.ts";
import { formatCommand, parseReply } from "../contract/command.ts";
import { parseDescribed, parseRunstate } from "../contract/description.ts";
import { messageOf, WorkerHostError } from "../contract/errors.ts";
import { COMMAND_EXPIRY_S } from "../contract/limits.ts";
import { decodeText, defined, jsonIn } from "../contract/payload.ts";
import { assertTarget, faultOfId, Topics } from "../contract/topics.ts";
import { isThere } from "../host/bus/neighbours.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { Connection } from "../mqtt/connection.ts";
import type { BrokerOptions, Message } from "../mqtt/wire.ts";
import { type ClientDependencies, connect, RETAINED_MS, retained } from "./client.ts";
import { asUsage } from "./options.ts";
import type { Outcome } from "./send.ts";

interface RenameOptions extends ClientDependencies {
  id: string;
  newId: string;
  /** A fresh id for a command. */
  newCommandId: () => string;
  /** Tells people how far it is. */
  say: (text: string) => void;
}

/** How long a board has to write down its id and to say so. */
const REPLY_MS = 5_000;
/** How long it has to be there again. */
const RETURN_MS = 30_000;

/** Has a board take another id, and waits until it is there under that. */
export async function renameBoard(settings: Settings, options: RenameOptions): Promise<Outcome> {
  const { id, newId } = options;
  asUsage(() => assertTarget(id));
  const fault = faultOfId(newId, settings.name);
  if (fault !== undefined) throw new WorkerHostError("invalid_settings", fault);
  if (id === newId) throw new WorkerHostError("invalid_settings", `the board has the id "${id}" already: give another`);
  const client = await connect(settings, options);
  if ("problem" in client) return { code: 1, text: `not renamed: ${client.problem}` };
  const { connection } = client;
  const topics = new Topics(settings.prefix, settings.name);
  try {
    return await new Renaming(connection, topics, options).run();
  } finally {
    await connection.stop();
  }
}

/** One board's way from one id to another. */
class Renaming {
  /** What the broker shows of the new id's availability. */
  readonly #shown = deferred<Uint8Array>();
  /** Fulfils when somebody comes online under the new id. */
  readonly #back = deferred();
  /** A worker runs under the board's id, too. */
  #isShared = false;

  constructor(
    private readonly wire: Connection,
    private readonly topics: Topics,
    private readonly options: RenameOptions,
  ) {}

  async run(): Promise<Outcome> {
    const { wire, topics } = this;
    const { id, newId, clock, say } = this.options;
    await wire.subscribe(topics.availability(newId), (message) => this.#hear(message));
    const obstacle = await this.#obstacle();
    if (obstacle !== undefined) return { code: 1, text: `not renamed: ${obstacle}` };
    const failure = await this.#send();
    if (failure !== undefined) return { code: 1, text: `not renamed: ${failure}` };
    say(`${id} takes the id ${newId}, and starts again`);
    if (await within(clock, RETURN_MS, this.#back.promise)) return { code: 0, text: `${newId} is online` };
    return { code: 1, text: `${newId} did not come online in ${RETURN_MS / 1000} s: look at its power and network` };
  }

  #hear({ payload, retain }: Message): void {
    if (retain) this.#shown.resolve(payload);
    else if (decodeText(payload) === "online") this.#back.resolve();
  }

  /** Why nothing is sent. */
  async #obstacle(): Promise<string | undefined> {
    const { wire, topics } = this;
    const { id, newId, clock, newCommandId } = this.options;
    const [description, runstate, shown] = await Promise.all([
      retained(wire, clock, topics.description(id)),
      retained(wire, clock, topics.runstate(id)),
      within(clock, RETAINED_MS, this.#shown.promise),
    ]);
    const worker = runstate && parseRunstate(runstate);
    this.#isShared = worker?.state === "running";
    if (description === undefined) return `nothing on the broker describes itself as "${id}"`;
    if (parseDescribed(description, id).chip === undefined) {
      const what = worker ? `it is a worker of the host "${worker.host}"` : 'its description has no "board"';
      return `"${id}" is no board: ${what}`;
    }
    if (shown === undefined || decodeText(shown.value) !== "online") return undefined;
    const there = await isThere(newId, { wire, topics, clock, newId: newCommandId, asker: "cli" });
    return there === false ? undefined : `"${newId}" is taken: something answers under it`;
  }

  /** Sends the command; gives why it was not done. */
  async #send(): Promise<string | undefined> {
    const { wire, topics } = this;
    const { id, newId, clock, newCommandId } = this.options;
    const commandId = newCommandId();
    const replyTo = topics.reply("cli", commandId);
    let refusal: string | undefined;
    const settled = deferred<string | undefined>();
    await wire.subscribe(replyTo, ({ payload }) => {
      const reply = parseReply(payload);
      if (!reply) return;
      refusal = reply.status === "ok" ? undefined : (reply.error ?? "no reason given");
      // A worker that has the id too knows no such command, and says so.
      if (refusal === undefined || !this.#isShared) settled.resolve(refusal);
    });
    const payload = formatCommand("rename", newId, commandId, replyTo);
    const sent = await wire.publish(topics.command(id), payload, { qos: 1, expiryS: COMMAND_EXPIRY_S });
    if (sent === "dropped") return "the broker did not take the command";
    if (sent === "unheard") return `nobody takes commands for ${id}: is it running?`;
    const back = this.#back.promise.then(() => undefined);
    const answer = await within(clock, REPLY_MS, Promise.race([settled.promise, back]));
    return answer ? answer.value : (refusal ?? `no reply in ${REPLY_MS / 1000} s`);
  }
}

/** `simulation.yaml` beside a sketch: what its pins are called, and what can be done to its inputs. */
const description = z.strictObject({
  outputs: z.record(z.string(), z.string()).default({}),
  /** What the inputs show at the start: 0 or 1, by pin. */
  initial: z.record(z.string(), z.number().int().min(0).max(1)).default({}),
  /** By the key to press. */
  inputs: z
    .record(
      z.string().length(1),
      z.strictObject({
        pin: z.number().int().nonnegative(),
        says: z.string(),
        /** So long it lasts; it stays until it is pressed again, if not given. */
        ms: z.number().positive().optional(),
      }),
    )
    .default({}),
});

interface Sketch {
  /** The name of its prop. */
  name: string;
  firmware: string;
  pins: z.infer<typeof description>;
}

interface SimulationOptions {
  /** The folder of the props. */
  props: string;
  /** For what each board keeps. */
  data: string;
  env: NodeJS.ProcessEnv;
  /** The sketches to run; all if empty. */
  names: string[];
  say: (text: string) => void;
}

interface Board {
  sketch: Sketch;
  child: ChildProcess;
  /** What its inputs show. */
  inputs: Map<number, number>;
}

const run = promisify(execFile);
const NEEDS = "simulate builds the sketches for this machine: sudo apt install g++ make libmosquitto-dev libcjson-dev";

/** The sketches of the props, as programs on this machine. */
export class Simulation {
  #sketches: Sketch[] = [];
  readonly #boards: Board[] = [];

  constructor(private readonly options: SimulationOptions) {}

  /**
   * Finds and builds them.
   *
   * @throws WorkerHostError `invalid_settings` where there is no such sketch, `not_built` where it can't be built
   */
  async prepare(): Promise<void> {
    const { props, names } = this.options;
    const files = await fastGlob.glob("*/firmware/firmware.ino", { cwd: props });
    const known = files.map((file) => file.split("/")[0] ?? file).sort();
    const strange = names.find((name) => !known.includes(name));
    if (strange !== undefined || known.length === 0) {
      const there = known.join(", ") || "none";
      const what = strange === undefined ? "no sketch" : `no sketch "${strange}"`;
      throw new WorkerHostError("invalid_settings", `${what} in ${props}/*/firmware/firmware.ino; there are: ${there}`);
    }
    const wanted = names.length > 0 ? names : known;
    this.#sketches = await Promise.all(wanted.map((name) => this.#read(name)));
    await this.#build(wanted);
  }

  async #read(name: string): Promise<Sketch> {
    const firmware = join(this.options.props, name, "firmware");
    const file = join(firmware, "simulation.yaml");
    if (!existsSync(file)) return { name, firmware, pins: description.parse({}) };
    const read = description.safeParse(parse(await readFile(file, "utf8")) ?? {});
    if (read.success) return { name, firmware, pins: read.data };
    throw new WorkerHostError("invalid_settings", `${file}: ${z.prettifyError(read.error)}`);
  }

  async #build(names: string[]): Promise<void> {
    const { props, env, say } = this.options;
    say(`building ${names.join(", ")} …`);
    try {
      const folders = [`props=${props}`, `BUILD=${buildFolder(props)}`];
      await run("make", ["-s", "-C", packageFile("props/lib/host"), ...folders, ...names], { env, maxBuffer: 2 ** 24 });
    } catch (cause) {
      const said = (cause as { stderr?: string }).stderr?.trim() || messageOf(cause);
      throw new WorkerHostError("not_built", `${said}\n${NEEDS}`, { cause });
    }
  }

  /** Starts the boards on a broker that is there. */
  start(broker: BrokerOptions, prefix: string, ca: string | undefined): void {
    const { data, props, env, say } = this.options;
    if (!/^mqtts?:/.test(broker.url)) {
      throw new WorkerHostError("invalid_settings", `boards speak mqtt:// or mqtts://, not ${broker.url}`);
    }
    for (const sketch of this.#sketches) {
      const nvs = join(data, "firmware", sketch.name);
      mkdirSync(dirname(nvs), { recursive: true });
      const child = spawn(join(buildFolder(props), "none", sketch.name), [], {
        env: {
          PATH: env.PATH,
          MQTT_URL: broker.url,
          MQTT_PREFIX: prefix,
          ...defined({ MQTT_USERNAME: broker.username, MQTT_PASSWORD: broker.password, MQTT_CA: ca }),
          HOST_NVS: nvs,
          HOST_INPUTS: Object.entries(sketch.pins.initial)
            .map(([pin, value]) => `${pin}=${value}`)
            .join(" "),
          // It ends when we do, however we end.
          HOST_STDIN: "hold",
        },
        stdio: ["pipe", "pipe", "inherit"],
        // A Ctrl-C is for us: they are told to stop by their workers first.
        detached: true,
      });
      const initial = Object.entries(sketch.pins.initial).map(([pin, value]): [number, number] => [Number(pin), value]);
      const board: Board = { sketch, child, inputs: new Map(initial) };
      this.#boards.push(board);
      child.on("error", (error) => say(`${sketch.name}: ${error.message}`));
      child.on("exit", (code, signal) => say(`${sketch.name} ended (${code ?? signal})`));
      child.stdin?.on("error", () => {});
      if (child.stdout) createInterface({ input: child.stdout }).on("line", (line) => this.#hear(board, line));
    }
  }

  /** What can be pressed, a line each. */
  help(): string[] {
    return this.#sketches.flatMap(({ name, pins }) =>
      Object.entries(pins.inputs).map(([key, { says }]) => `${key}  ${name}: ${says}`),
    );
  }

  /** Does what a key stands for; false where it stands for nothing. */
  press(key: string): boolean {
    for (const board of this.#boards) {
      const input = new Map(Object.entries(board.sketch.pins.inputs)).get(key);
      if (!input) continue;
      const before = board.inputs.get(input.pin) ?? 0;
      const now = before === 0 ? 1 : 0;
      set(board, input.pin, now);
      this.options.say(`${board.sketch.name}: ${input.says}${now === 0 ? ", no more" : ""}`);
      if (input.ms !== undefined && now === 1) setTimeout(() => set(board, input.pin, 0), input.ms).unref();
      return true;
    }
    return false;
  }

  #hear({ sketch }: Board, line: string): void {
    const said = saidOf((jsonIn(line) ?? {}) as Record<string, unknown>, sketch);
    if (said !== "") this.options.say(`${sketch.name}: ${said}`);
  }
}

/** What a line of the platform says, for people; nothing where it is of no interest to them. */
function saidOf({ pin, value, serial, uart, hex, reset, error }: Record<string, unknown>, { pins }: Sketch): string {
  if (typeof pin === "number" && typeof value === "number") {
    return `${new Map(Object.entries(pins.outputs)).get(String(pin)) ?? `pin ${pin}`} ${levelOf(value)}`;
  }
  if (typeof serial === "string") return serial.trim();
  if (typeof hex === "string") return `serial port ${uart}: ${hex}`;
  if (typeof reset === "string") return `restarts (${reset})`;
  return typeof error === "string" ? error : "";
}

function buildFolder(props: string): string {
  return join(dirname(props), "build/firmware");
}

function levelOf(value: number): string {
  return value === 0 ? "off" : value === 1 ? "on" : `on, ${value} of 255`;
}

function set(board: Board, pin: number, value: number): void {
  board.inputs.set(pin, value);
  board.child.stdin?.write(`${JSON.stringify({ pin, value })}\n`);
}
