import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import {
  Counter,
  Gauge,
  Histogram,
  type MetricObjectWithValues,
  type MetricValueWithName,
  Registry,
} from "prom-client";
import { COMMAND_BOUNDS_MS, type Counts, type HostCounts } from "../../base/counts.ts";

/** What metrics are made of. */
export interface Measured {
  counts: HostCounts;
  connected: boolean;
  /** Whether the host's name is its own. */
  active: boolean;
  allStop: boolean;
  workers: { id: string; state: string }[];
  /** What the workers' processes take; `own` is the one worker that it is for. */
  memory: { own?: string; bytes: number }[];
  uptimeS: number;
}

const PREFIX = "worker_host_";
const DELAY_RESOLUTION_MS = 10;
const STATES = ["starting", "running", "stopping", "stopped", "failed", "skipped"];

const PER_WORKER: [name: string, help: string, key: Exclude<keyof Counts, "commands" | "commandMs">][] = [
  ["messages_received_total", "Messages that a worker received", "received"],
  ["messages_sent_total", "Messages that a worker sent", "sent"],
  ["messages_dropped_total", "Messages of a worker that did not reach the broker", "dropped"],
  ["commands_refused_total", "Commands that a worker refused", "refused"],
  ["handler_errors_total", "Errors in a worker's own code", "errors"],
];

type Bucket = MetricValueWithName<"worker" | "le">;

/** A histogram of times that were counted elsewhere. */
class CommandTimes extends Histogram<"worker" | "le"> {
  constructor(
    private readonly about: { name: string; help: string },
    private readonly measured: () => Measured,
  ) {
    super({ ...about, labelNames: ["worker"], registers: [] });
  }

  override get(): Promise<MetricObjectWithValues<Bucket>> {
    const { workers, counts } = this.measured();
    const values = workers.flatMap(({ id }) => this.#of(id, counts.of(id)));
    const { name, help } = this.about;
    return Promise.resolve({ name, help, type: "histogram", aggregator: "sum", collect: () => {}, values } as never);
  }

  /** What a registry asks for instead of `get`. */
  getForPromString(): Promise<MetricObjectWithValues<Bucket>> {
    return this.get();
  }

  #of(worker: string, { commands, commandMs }: Counts): Bucket[] {
    const { name } = this.about;
    let total = 0;
    const buckets = commands.map((count, place) => {
      total += count;
      const bound = COMMAND_BOUNDS_MS[place];
      const le = bound === undefined ? "+Inf" : bound / 1000;
      return { metricName: `${name}_bucket`, labels: { worker, le }, value: total };
    });
    return [
      ...buckets,
      { metricName: `${name}_sum`, labels: { worker }, value: commandMs / 1000 },
      { metricName: `${name}_count`, labels: { worker }, value: total },
    ];
  }
}

/** The host's metrics, in a registry of their own. A worker has lines for as long as the host knows it. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });

  constructor(private readonly measured: () => Measured) {
    this.#addHost();
    this.#addOwnMessages();
    this.#addWorkers();
    this.#addProcesses();
  }

  start(): void {
    this.#delay.enable();
  }

  stop(): void {
    this.#delay.disable();
    this.#registry.clear();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** All of them, in Prometheus's text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  #gauge(name: string, help: string, value: (measured: Measured) => number): void {
    this.#perLabel([Gauge, name, help], [], (measured) => [[{}, value(measured)]]);
  }

  /** One line for each of what `values` gives. */
  #perLabel<L extends string>(
    [Kind, name, help]: [typeof Gauge | typeof Counter, string, string],
    labelNames: L[],
    values: (measured: Measured) => [labels: Partial<Record<L, string>>, value: number][],
  ): void {
    const { measured } = this;
    const metric: Gauge<L> | Counter<L> = new Kind<L>({
      ...{ name: `${PREFIX}${name}`, help, labelNames, registers: [this.#registry] },
      collect: () => {
        metric.reset();
        for (const [labels, value] of values(measured())) metric.inc(labels, value);
      },
    });
  }

  #counter(name: string, help: string, value: (counts: HostCounts) => number): void {
    this.#perLabel([Counter, name, help], [], ({ counts }) => [[{}, value(counts)]]);
  }

  #addHost(): void {
    this.#gauge("uptime_seconds", "Time since the start of the host", ({ uptimeS }) => uptimeS);
    this.#gauge("broker_connected", "1 while the host is connected to the broker", ({ connected }) =>
      Number(connected),
    );
    this.#gauge("active", "1 while the host has its name, 0 as a standby", ({ active }) => Number(active));
    this.#gauge("all_stop", "1 while all-stop is engaged", ({ allStop }) => Number(allStop));
    this.#counter("stall_warnings_total", "How often a process of workers was held up", (it) => it.stallWarnings);
    this.#counter("stalls_total", "How often a process of workers was ended since it was held up", (it) => it.stalls);
    this.#counter("process_deaths_total", "How often a process of workers died", (it) => it.deaths);
    const delay = (quantile: string, ns: number): [{ quantile: string }, number] => [
      { quantile },
      // What it measures is the time between two turns that are meant to be so far apart.
      Math.max(0, ns / 1e9 - DELAY_RESOLUTION_MS / 1000),
    ];
    const help = "By how much the host's event loop was late since the last look";
    this.#perLabel([Gauge, "event_loop_delay_seconds", help], ["quantile"], () => {
      // With nothing measured, it says NaN.
      const measured = this.#delay.count > 0;
      const of = (percent: number) => (measured ? this.#delay.percentile(percent) : 0);
      const values = [delay("0.5", of(50)), delay("0.99", of(99)), delay("1", measured ? this.#delay.max : 0)];
      this.#delay.reset();
      return values;
    });
  }

  #addOwnMessages(): void {
    const help = "Messages of the host's own connection";
    this.#perLabel([Counter, "own_messages_total", help], ["kind"], ({ counts: { own } }) =>
      (["received", "sent", "dropped"] as const).map((kind) => [{ kind }, own[kind]]),
    );
  }

  #addWorkers(): void {
    this.#perLabel([Gauge, "workers", "How many workers are in a runstate"], ["state"], ({ workers }) =>
      STATES.map((state) => [{ state }, workers.filter((worker) => worker.state === state).length]),
    );
    this.#perLabel([Gauge, "worker_running", "1 while a worker runs"], ["worker"], ({ workers }) =>
      workers.map(({ id, state }) => [{ worker: id }, Number(state === "running")]),
    );
    const restarts = "How often a worker was started again by itself";
    this.#perLabel([Counter, "restarts_total", restarts], ["worker"], ({ workers, counts }) =>
      workers.map(({ id }) => [{ worker: id }, counts.restartsOf(id)]),
    );
    for (const [name, help, key] of PER_WORKER) {
      this.#perLabel([Counter, name, help], ["worker"], ({ workers, counts }) =>
        workers.map(({ id }) => [{ worker: id }, counts.of(id)[key]]),
      );
    }
    const help = "From a command's admission to the end of its handler";
    const times = new CommandTimes({ name: `${PREFIX}command_duration_seconds`, help }, this.measured);
    this.#registry.registerMetric(times);
  }

  #addProcesses(): void {
    const help = "Memory of the host, of the process that workers share, and of those that are one worker's own";
    this.#perLabel([Gauge, "resident_memory_bytes", help], ["process", "worker"], ({ memory }) => [
      [{ process: "host" }, process.memoryUsage.rss()],
      ...memory.map(({ own, bytes }): [Partial<Record<"process" | "worker", string>>, number] =>
        own === undefined ? [{ process: "shared" }, bytes] : [{ process: "own", worker: own }, bytes],
      ),
    ]);
    this.#gauge("heap_used_bytes", "Memory in JavaScript's heap of the host", () => process.memoryUsage().heapUsed);
  }
}
