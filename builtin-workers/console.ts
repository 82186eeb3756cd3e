import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BaseWorker, z } from "worker-host";
import { BusModel } from "worker-host/contract/bus.ts";
import { parseRunstate } from "worker-host/contract/description.ts";
import { COMMAND_EXPIRY_S } from "worker-host/contract/limits.ts";
import { Topics } from "worker-host/contract/topics.ts";
import { Devices } from "./console/devices.ts";
import { LogEnds } from "./console/log-end.ts";
import { PageServer } from "./console/page-server.ts";
import { Presses } from "./console/presses.ts";
import { LONG_FRAMES_PER_S, Rate, RpcClient } from "./console/rpc-client.ts";
import { PING_MS } from "./console/seats.ts";
import { createVerbs, now } from "./console/verbs.ts";

/** How often a page is told what is new. */
const BATCH_MS = 100;
/** How often it looks whether a device that has a socket is still paired. */
const LOOK_MS = 1_000;
/** How long the host has to say that all-stop is engaged. */
const ENGAGE_MS = 3_000;

/** Serves the page from which a haunt is run, and its RPC. To the bus it is one more client. */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    /** The setting `console_port` gives it; 0 picks a free one. */
    port: z.number().int().min(0).max(65_535).default(0),
    /** At any but the loopback, whoever comes from elsewhere has to be paired. */
    host: z.string().min(1).default("127.0.0.1"),
  });
  static description = "The page from which the haunt is run";
  static offline = true;

  readonly #topics = new Topics(this.haunt.prefix, this.haunt.host);
  readonly #clients = new Set<RpcClient>();
  #bus = new BusModel(this.#topics);
  #server: PageServer | undefined;
  #unsubscribe = () => {};
  #listening = Promise.resolve();
  /** To be called when all-stop is engaged. */
  #onEngaged = () => {};
  #engaging: Promise<void> | undefined;
  readonly #presses = new Presses((by) => this.engage(by));

  override async start() {
    await super.start();
    const logs = new LogEnds(join(this.dataDir, "../logs"));
    const verbs = createVerbs({
      haunt: this.haunt,
      meta: await this.#meta(),
      descriptionOf: (id) => this.#bus.valuesOf(id).get("description")?.text,
      log: (id, lines) => logs.read(id, lines),
      call: (id, action, args) => this.run(() => this.call(id, action, args, this.#freshness(id))),
      allStop: (press, by) => this.#press(press, by),
    });
    const devices = new Devices({
      folder: this.dataDir,
      wallClock: () => this.now(),
      write: (name, text) => this.writeFile(name, text),
      warn: (text) => this.log.error(text),
    });
    devices.start();
    const longFrames = new Rate(LONG_FRAMES_PER_S);
    const server = new PageServer({
      ...this.config,
      folder: join(this.dir, "../dist/dashboard"),
      devices,
      allStop: (press, by) => this.#press(press, by),
      onSocket: (socket, device) => {
        const [bus, connected] = [() => this.#bus, () => this.connected];
        const waitingBytes = () => server.seats.waitingBytes;
        const client = new RpcClient({ socket, device, verbs, bus, connected, waitingBytes, longFrames });
        this.#clients.add(client);
        socket.once("close", () => this.#clients.delete(client));
      },
    });
    this.#server = server;
    this.describe({ page: await server.start() });
    this.every(BATCH_MS, this.tellPages);
    this.every(LOOK_MS, () => {
      devices.look();
      for (const client of this.#clients) client.refuseUnpaired((device) => devices.has(device));
    });
    this.every(PING_MS, () => server.seats.sweep());
    if (this.connected) await this.listen();
  }

  /** The id that this console has had since its first start, and the version of worker-host. */
  async #meta(): Promise<{ id: string; version: string }> {
    const { version } = JSON.parse(readFileSync(join(this.dir, "../package.json"), "utf8")) as { version: string };
    const known = this.store.get("id");
    const id = typeof known === "string" ? known : randomUUID().replaceAll("-", "");
    if (id !== known) await this.store.set("id", id);
    return { id, version };
  }

  /**
   * How long a command is meant. What has waited in the socket of a broker that stood still has no age for MQTT: only its
   * target's clock tells. What this host runs has the clock of this machine; of any other one nothing is known.
   */
  #freshness(id: string): { expiresAt?: number } {
    const { host } = this.haunt;
    const runstate = new TextEncoder().encode(this.#bus.valuesOf(id).get("status/runstate")?.text);
    if (id !== host && parseRunstate(runstate)?.host !== host) return {};
    return { expiresAt: this.now() + COMMAND_EXPIRY_S * 1_000 };
  }

  override async stop() {
    await this.#server?.stop();
  }

  /** What was known before the broker went away may be true no longer. */
  override async onConnection(connected: boolean) {
    if (connected) {
      this.#bus = new BusModel(this.#topics);
      await this.listen();
    }
    this.tellPages();
  }

  override onAllStop() {
    this.#onEngaged();
  }

  /** Subscribes anew, one time after the other: nothing is heard twice. */
  listen(): Promise<void> {
    this.#listening = this.#listening.catch(() => {}).then(() => this.#listen());
    return this.#listening;
  }

  async #listen(): Promise<void> {
    this.#unsubscribe();
    const { all, allStop } = this.#topics;
    // One subscription: a reply comes after its command.
    this.#unsubscribe = await this.subscribe(all, (message) => {
      this.#bus.take(message, now());
      if (message.topic !== allStop) return;
      if (message.text === "engaged" && !message.retain) this.#onEngaged();
      this.tellPages();
    });
  }

  tellPages() {
    for (const client of this.#clients) client.tell();
  }

  /** Fulfils when a press of all-stop has engaged it, with whether it is so: one that has come before may be cleared since. */
  async #press(id: string | undefined, by: string | undefined): Promise<{ engaged: boolean }> {
    const at = await this.#presses.take(id, by);
    const said = this.#bus.valuesOf(this.haunt.host).get("status/all_stop");
    return { engaged: said?.text !== "clear" || said.at < at };
  }

  /**
   * Fulfils when all-stop is engaged.
   *
   * @param by the paired device that asks for it
   * @throws Error where the host has not said so in 3 s
   */
  engage(by?: string): Promise<void> {
    // What is asked for meanwhile is engaged with it.
    this.#engaging ??= this.#engage(by).finally(() => {
      this.#engaging = undefined;
    });
    return this.#engaging;
  }

  async #engage(by: string | undefined): Promise<void> {
    const engaged = new Promise<void>((resolve) => {
      this.#onEngaged = resolve;
    });
    const tooLate = this.sleep(ENGAGE_MS).then(() => {
      throw new Error("not confirmed: the host has not answered");
    });
    void this.allStop(by === undefined ? "pressed on the page" : `pressed on the page by ${by}`);
    await Promise.race([engaged, tooLate]);
  }
}
