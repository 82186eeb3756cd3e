import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Logger } from "pino";
import { Topics } from "../contract/topics.ts";
import type { Clock } from "../worker/clock.ts";
import { ConnectGate } from "../worker/connect-gate.ts";
import type { LogOptions } from "../worker/log.ts";
import type { BrokerOptions } from "../worker/wire.ts";
import type { EmbeddedBroker } from "./broker.ts";
import { Bundler } from "./bundle.ts";
import { type Discovery, discover, pathFrom } from "./discover.ts";
import { lanCredentials } from "./lan-credentials.ts";
import { Presence } from "./presence.ts";
import type { Settings } from "./settings.ts";
import { Supervisor, type WorkerRecord } from "./supervisor.ts";

/** What a host is handed from the edge. */
export interface HostOptions {
  settings: Settings;
  version: string;
  /** Paths are shown to people as from here. */
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  log: Logger;
  logOptions: LogOptions;
  clock: Clock;
  random: () => number;
}

/** A running worker-host: a broker if need be, the host's own connection, and the workers. */
export class Host {
  readonly #topics: Topics;
  #embedded: EmbeddedBroker | undefined;
  #broker: BrokerOptions | undefined;
  #bundles: string | undefined;
  #supervisor: Supervisor | undefined;
  #presence: Presence | undefined;
  #stopped = false;

  constructor(private readonly options: HostOptions) {
    this.#topics = new Topics(options.settings.prefix);
  }

  /** How clients on this machine reach the broker; from `start()` on. */
  get broker(): BrokerOptions | undefined {
    return this.#broker;
  }

  get workers(): WorkerRecord[] {
    return this.#supervisor?.workers ?? [];
  }

  /** Fulfils when the workers are on their way. Waits for a broker that isn't there yet. */
  async start(): Promise<void> {
    const { settings, log, cwd } = this.options;
    this.#bundles = await mkdtemp(join(tmpdir(), "worker-host-"));
    const supervisor = this.#createSupervisor(this.#bundles);
    this.#supervisor = supervisor;
    supervisor.open();
    const discovery = discover({ ...settings, show: pathFrom(cwd) });
    const [broker] = await Promise.all([settings.external ?? this.#startBroker(), discovery]);
    this.#broker = broker;
    log.info(
      { port: this.#embedded?.port },
      this.#embedded ? `the embedded broker listens at ${broker.url}` : `using the broker at ${broker.url}`,
    );
    const presence = this.#createPresence(broker, supervisor);
    this.#presence = presence;
    await Promise.all([this.#connect(broker, presence, supervisor), this.#add(supervisor, await discovery)]);
    if (!this.#stopped) await presence.clearRemoved();
  }

  async #connect(broker: BrokerOptions, presence: Presence, supervisor: Supervisor): Promise<void> {
    const { settings, logOptions } = this.options;
    await presence.start();
    if (this.#stopped) return;
    supervisor.start({
      broker: { ...broker, protocolVersion: presence.protocolVersion },
      prefix: settings.prefix,
      hostName: this.#topics.hostName,
      log: logOptions,
    });
  }

  /** Fulfils when each worker is running, or has failed. */
  async settled(): Promise<void> {
    await this.#supervisor?.settled();
  }

  /** Stops the workers, says so, and closes the broker last. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#supervisor?.stop();
    this.#presence?.describeNow();
    await this.#presence?.stop();
    await this.#embedded?.stop();
    await this.#removeBundles();
  }

  /** Ends the workers' processes at once. */
  async kill(): Promise<void> {
    this.#supervisor?.kill();
    await this.#removeBundles();
  }

  async #startBroker(): Promise<BrokerOptions> {
    const { settings, log } = this.options;
    const { port, lan, ...given } = settings.embedded;
    // Loaded only where it is needed: it takes a tenth of a second.
    const { EmbeddedBroker } = await import("./broker.ts");
    this.#embedded = await EmbeddedBroker.start({
      port,
      lan,
      ...(lan ? { credentials: lanCredentials(settings.data, given) } : {}),
      log,
    });
    return this.#embedded.options;
  }

  #createSupervisor(bundles: string): Supervisor {
    const { cwd, env, log, clock } = this.options;
    const show = pathFrom(cwd);
    return new Supervisor({
      bundler: new Bundler(bundles, show),
      env,
      log,
      clock,
      show,
      onChange: (worker) => {
        this.#logChange(worker);
        this.#presence?.tell(worker);
      },
      onWarning: (id, text) => {
        log.warn({ worker: id }, text);
        this.#presence?.say(id, "warn", text);
      },
    });
  }

  #createPresence(broker: BrokerOptions, supervisor: Supervisor): Presence {
    const { version, log, clock, random } = this.options;
    return new Presence({
      broker,
      topics: this.#topics,
      version,
      log,
      clock,
      random,
      gate: new ConnectGate(),
      summaries: () => supervisor.summaries(),
    });
  }

  async #add(supervisor: Supervisor, { workers, warnings }: Discovery): Promise<void> {
    const { settings, log } = this.options;
    for (const warning of warnings) log.warn(warning);
    await supervisor.add(workers);
    this.#presence?.describe();
    if (workers.every(({ skipped }) => skipped !== undefined)) {
      const text = `no worker found: expected ${settings.props}/<id>/backend/worker.ts or ${settings.builtins}/<name>.ts`;
      log.warn(text);
      this.#presence?.say(this.#topics.hostName, "warn", text);
    }
  }

  #logChange({ id, state, detail }: WorkerRecord): void {
    const { log } = this.options;
    if (state === "failed") log.error({ worker: id }, `failed: ${detail}`);
    else if (state === "skipped") log.info({ worker: id }, `skipped: ${detail}`);
    else log[state === "running" ? "info" : "debug"]({ worker: id }, state);
  }

  async #removeBundles(): Promise<void> {
    if (this.#bundles) await rm(this.#bundles, { recursive: true, force: true });
  }
}
