import { join } from "node:path";
import type { Logger } from "pino";
import { type Clock, delay, within } from "../base/clock.ts";
import { HostCounts } from "../base/counts.ts";
import type { LogOptions } from "../base/log.ts";
import type { Output } from "../base/output.ts";
import { pathFrom } from "../base/paths.ts";
import type { WorkerSummary } from "../contract/description.ts";
import { describeError, type WorkerHostError } from "../contract/errors.ts";
import { defined } from "../contract/payload.ts";
import { CONSOLE, Topics } from "../contract/topics.ts";
import { ConnectGate } from "../mqtt/mqtt-client.ts";
import type { BrokerOptions } from "../mqtt/wire.ts";
import { lanCredentials } from "./access/lan-credentials.ts";
import type { EmbeddedBroker } from "./broker/broker.ts";
import { connectionsAllowed } from "./broker/broker-limits.ts";
import { HostConnection } from "./bus/host-connection.ts";
import { HostIdentity } from "./bus/host-identity.ts";
import { ConfigThread } from "./config/config-thread.ts";
import { DataLock } from "./data/data-lock.ts";
import type { LogFiles } from "./data/log-files.ts";
import { HomeAssistantLink } from "./home-assistant/link.ts";
import { type HealthServer, openHealth } from "./http/health.ts";
import { SETTLE_MS } from "./limits.ts";
import { Bundler } from "./plan/bundle.ts";
import { type Plan, readPlan } from "./plan/plan.ts";
import { LiveReload } from "./reload/live-reload.ts";
import { logChange } from "./runners/records.ts";
import { Supervisor } from "./runners/supervisor.ts";
import type { AllStopState } from "./safety/all-stop.ts";
import { Safety } from "./safety/safety.ts";
import type { Settings } from "./settings/settings.ts";
import { environmentFor } from "./settings/settings-table.ts";
import { CommandDesk, whoOf } from "./verbs/command-desk.ts";

/** How long after that the host gets ready for commands, if none comes before. */
const LOAD_COMMANDS_MS = 1_000;

/** How long the host waits at the end of its start to hear where the page is. */
const PAGE_MS = 2_000;

/** What a host is handed from the edge. */
export interface HostOptions {
  settings: Settings;
  version: string;
  /** Paths are shown to people as from here. */
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  log: Logger;
  logOptions: LogOptions;
  logFiles: LogFiles;
  /** Standard output. */
  output: Output;
  clock: Clock;
  random: () => number;
  /** A fresh id for a command, or for a host. */
  newId: () => string;
  /** Called where another host took the name over: the workers are ended, and the host is to be too. */
  onOusted: (error: WorkerHostError) => void;
}

/** What is brought up in turn once there is a broker. */
interface Parts {
  identity: HostIdentity;
  safety: Safety;
  hostConnection: HostConnection;
  supervisor: Supervisor;
}

/** A running worker-host: a broker if need be, the host's own connection, and the workers. */
export class Host {
  readonly #topics: Topics;
  /** How a path is shown to people. */
  readonly #show: (path: string) => string;
  #embedded: EmbeddedBroker | undefined;
  #broker: BrokerOptions | undefined;
  #supervisor: Supervisor | undefined;
  readonly #gate = new ConnectGate();
  readonly #lock: DataLock;
  readonly #configs: ConfigThread;
  readonly #counts = new HostCounts();
  #health: HealthServer | undefined;
  #identity: HostIdentity | undefined;
  #hostConnection: HostConnection | undefined;
  #live: LiveReload | undefined;
  #safety: Safety | undefined;
  #desk: CommandDesk | undefined;
  #homeAssistant: HomeAssistantLink | undefined;
  #cancelLoading = () => {};
  #watching: Promise<void> | undefined;
  #stopped = false;

  constructor(private readonly options: HostOptions) {
    this.#topics = new Topics(options.settings.prefix, options.settings.name);
    this.#show = pathFrom(options.cwd);
    this.#lock = new DataLock(options);
    this.#configs = new ConfigThread(options.clock);
  }

  /** How clients on this machine reach the broker; from `start()` on. */
  get broker(): BrokerOptions | undefined {
    return this.#broker;
  }

  /** Whether all-stop is engaged, and since when; from `start()` on. */
  get allStop(): AllStopState | undefined {
    return this.#safety?.allStop.state;
  }

  /** The address of the page; `undefined` where no worker `console` runs. Waits until that has said it. */
  async page(): Promise<string | undefined> {
    const { clock } = this.options;
    const until = clock.monotonic() + PAGE_MS;
    while (this.#supervisor?.records.get(CONSOLE)?.state === "running" && clock.monotonic() < until) {
      const page = this.#identity?.shown.get(CONSOLE)?.page;
      if (page !== undefined) return page;
      await delay(clock, 20);
    }
    return undefined;
  }

  get workers(): WorkerSummary[] {
    return this.#supervisor?.records.summaries() ?? [];
  }

  /**
   * Fulfils when the workers are on their way. Waits for a broker that isn't there yet, and as a standby for its turn.
   *
   * @throws WorkerHostError `data_held`, `name_held`, and what opening the embedded broker throws
   */
  async start(): Promise<void> {
    const { settings, log } = this.options;
    const scratch = this.#lock.acquire();
    this.#health = await openHealth(this.options, this.#counts, () => ({
      hostConnection: this.#hostConnection,
      identity: this.#identity,
      safety: this.#safety,
      supervisor: this.#supervisor,
    }));
    const supervisor = this.#createSupervisor(scratch);
    this.#supervisor = supervisor;
    supervisor.open();
    const readPlan = this.#readPlan();
    const own = settings.external ? undefined : this.#startEmbedded();
    const [embedded] = await Promise.all([own, readPlan]);
    this.#embedded = embedded;
    this.#broker = settings.external ?? (embedded as EmbeddedBroker).options;
    const broker = settings.external ?? (embedded as EmbeddedBroker).ownOptions;
    log.info(
      { port: this.#embedded?.port },
      `${this.#embedded ? "the embedded broker listens" : "using the broker"} at ${broker.url}`,
    );
    if (embedded) this.#lock.tellPort(embedded.port);
    const hostConnection = this.#createHostConnection(broker, supervisor);
    this.#hostConnection = hostConnection;
    const identity = this.#createIdentity(broker, hostConnection, supervisor);
    this.#identity = identity;
    const live = this.#createLiveReload(hostConnection, supervisor);
    this.#live = live;
    const safety = await this.#openSafety(hostConnection, supervisor, live);
    this.#safety = safety;
    const { night } = safety;
    this.#homeAssistant = new HomeAssistantLink({
      ...this.options,
      topics: this.#topics,
      hostConnection,
      supervisor,
      night,
    });
    this.#desk = this.#createDesk(safety, hostConnection, supervisor, live);
    await hostConnection.takeCommands((message) => this.#desk?.receive(message));
    const parts = { identity, safety, hostConnection, supervisor };
    await Promise.all([this.#connect(broker, parts), this.#begin(live, await readPlan)]);
    if (!this.#stopped) await hostConnection.clearRemoved();
  }

  /** Starts the embedded broker as the settings want it; with `lan`, every client has to show credentials. */
  async #startEmbedded(): Promise<EmbeddedBroker> {
    const { settings, log, clock } = this.options;
    const { port, lan, ...given } = settings.embedded;
    const maxConnections = await connectionsAllowed();
    // Loaded only where it is needed: it takes a tenth of a second.
    const { EmbeddedBroker } = await import("./broker/broker.ts");
    const credentials = lan ? { credentials: lanCredentials(settings.data, given) } : {};
    return EmbeddedBroker.start({ port, lan, ...credentials, maxConnections, log, clock });
  }

  /**
   * Fulfils when each worker is running, or has failed. From then on the host sees edits; where a worker takes long, such
   * as one that the broker doesn't let in, from 10 s on.
   */
  async settle(): Promise<void> {
    const settled = this.#supervisor?.records.allSettled() ?? Promise.resolve();
    await within(this.options.clock, SETTLE_MS, settled);
    this.#watch();
    await settled;
  }

  #watch(): void {
    if (this.#stopped || !this.#live) return;
    this.#safety?.settle();
    void this.#homeAssistant?.start();
    this.#cancelLoading = this.options.clock.after(LOAD_COMMANDS_MS, () => void this.#desk?.load());
    this.#watching = this.#live.watch().catch((error: unknown) => {
      this.options.log.error({ err: error }, "edits are not seen: restart the host once that is mended");
    });
  }

  async #connect(broker: BrokerOptions, { identity, safety, hostConnection, supervisor }: Parts): Promise<void> {
    const { settings, logOptions } = this.options;
    await identity.start();
    if (this.#stopped) return;
    safety.begin();
    await hostConnection.start(identity.protocolVersion);
    if (this.#stopped) return;
    supervisor.start({
      broker: { ...broker, protocolVersion: hostConnection.protocolVersion },
      prefix: settings.prefix,
      hostName: this.#topics.hostName,
      log: logOptions,
      allStop: safety.allStop.engaged,
      gateOpen: identity.active,
    });
  }

  /** Stops the workers, says so, and closes the broker last. */
  async stop(): Promise<void> {
    this.#stopped = true;
    // Before whoever is asking for an id is told to give up.
    this.#supervisor?.startNoMore();
    this.#identity?.giveUp();
    this.#cancelLoading();
    this.#safety?.stop();
    this.#homeAssistant?.stop();
    await Promise.all([this.#watching, this.#live?.stop()]);
    await this.#supervisor?.stop();
    this.#hostConnection?.describeNow();
    // Before it is shown offline, which is when another one claims the name.
    await this.#identity?.stop();
    await this.#hostConnection?.stop();
    await this.#safety?.close();
    await this.#embedded?.stop();
    await this.#leave();
  }

  /** Tells people of an error that nothing has caught. */
  report(error: unknown): void {
    this.options.log.error({ err: error }, "an error of the host itself");
    this.#hostConnection?.say(this.#topics.hostName, "error", `an error of the host itself: ${describeError(error)}`);
  }

  /** Ends the workers' processes at once. */
  async kill(): Promise<void> {
    this.#supervisor?.kill();
    await this.#leave();
  }

  /** Looks at what is on disk; `overlay` has texts that stand in for files'. */
  async #readPlan(overlay: ReadonlyMap<string, string> = new Map()): Promise<Plan> {
    const { settings, env } = this.options;
    return readPlan({ ...settings, env, show: this.#show, overlay, parse: (...file) => this.#configs.parse(...file) });
  }

  #createSupervisor(scratch: string): Supervisor {
    return new Supervisor({
      ...this.options,
      ...this.options.settings,
      env: environmentFor(this.options.env),
      counts: this.#counts,
      bundler: new Bundler(scratch, this.#show, this.options.clock),
      scratch,
      show: this.#show,
      inTurn: async (work) => this.#live?.inTurn(work),
      idTakenBy: async (planned) => this.#identity?.idTakenBy(planned),
      onChange: (worker) => {
        logChange(this.options.log, worker);
        this.#hostConnection?.tell(worker);
        this.#identity?.repeatAvailability(worker.planned.id);
        this.#homeAssistant?.update();
      },
      onAllStop: (who) => void this.#safety?.allStop.engage(whoOf(who)),
      say: (id, key, text) => this.#say(id, key, text),
      warn: (text) => this.#say(this.#topics.hostName, "warn", text),
      lockedOut: (id) => this.#safety?.night.lockedOut(id),
      boardOf: (planned) => this.#identity?.boardOf(planned),
    });
  }

  #say(id: string, key: "warn" | "error", text: string): void {
    if (text !== "") this.options.log[key]({ worker: id }, text);
    this.#hostConnection?.say(id, key, text);
  }

  #createHostConnection(broker: BrokerOptions, supervisor: Supervisor): HostConnection {
    return new HostConnection({
      ...this.options,
      broker,
      ...defined({ openStream: this.#embedded?.open }),
      topics: this.#topics,
      gate: this.#gate,
      counts: this.#counts.own,
      onUp: () => this.#safety?.reconnected(),
      worker: (id) => supervisor.records.get(id),
      describe: () => ({
        workers: supervisor.records.summaries(),
        ...(this.#identity?.boards.length ? { boards: this.#identity.boards } : {}),
        ...(this.#safety?.night.show ? { show: true } : {}),
        ...(this.#desk ? { commands: this.#desk.commands.describe() } : {}),
      }),
    });
  }

  #createIdentity(broker: BrokerOptions, hostConnection: HostConnection, supervisor: Supervisor): HostIdentity {
    return new HostIdentity({
      ...this.options,
      broker,
      sole: this.#embedded !== undefined,
      topics: this.#topics,
      gate: this.#gate,
      hostConnection,
      supervisor,
      fail: (text) => this.#say(this.#topics.hostName, "error", text),
    });
  }

  #openSafety(hostConnection: HostConnection, supervisor: Supervisor, live: LiveReload): Promise<Safety> {
    return Safety.open({
      ...this.options,
      ...this.options.settings,
      topics: this.#topics,
      hostConnection,
      supervisor,
      onShowOver: () => live.resume(),
      onLockOut: () => this.#homeAssistant?.update(),
      isOurs: (id) => this.#identity?.owns(id) === true,
      runsHere: (id) => this.#identity?.runs(id) === true,
      shown: () => this.#identity?.shown ?? new Map(),
      fail: (text) => this.#say(this.#topics.hostName, "error", text),
    });
  }

  #createLiveReload(hostConnection: HostConnection, supervisor: Supervisor): LiveReload {
    const { settings, log, clock } = this.options;
    return new LiveReload({
      supervisor,
      watched: [settings.props, ...settings.builtins, settings.settingsFile, join(settings.props, "../package.json")],
      readPlan: () => this.#readPlan(),
      onPlan: (plan) => this.#identity?.take(plan),
      log,
      clock,
      show: this.#show,
      waits: () => this.#safety?.night.show === true,
      say: (id, key, text) => this.#say(id, key, text),
      warn: (text) => this.#say(this.#topics.hostName, "warn", text),
      onGone: (id) => void hostConnection.clear(id).then(() => this.#homeAssistant?.update()),
    });
  }

  #createDesk(safety: Safety, hostConnection: HostConnection, supervisor: Supervisor, live: LiveReload): CommandDesk {
    return new CommandDesk({
      ...this.options,
      ...safety,
      topics: this.#topics,
      hostConnection,
      supervisor,
      live,
      configs: this.#configs,
      show: this.#show,
      readPlan: (overlay) => this.#readPlan(overlay),
    });
  }

  async #begin(live: LiveReload, first: Plan): Promise<void> {
    const { props, builtins } = this.options.settings;
    await live.begin(first);
    this.#hostConnection?.describe();
    if (first.workers.every(({ skipped }) => skipped !== undefined)) {
      const files = [`${props}/<id>/backend/worker.ts`, ...builtins.map((folder) => `${folder}/<name>.ts`)];
      const text = `no worker found: expected ${files.join(" or ")}`;
      this.#say(this.#topics.hostName, "warn", text);
    }
  }

  async #leave(): Promise<void> {
    await this.#health?.stop();
    this.#lock.release();
  }
}
