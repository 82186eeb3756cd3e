import type { Logger } from "pino";
import { type Clock, delay } from "../../base/clock.ts";
import { decodeText } from "../../contract/payload.ts";
import { faultOfId, HomeAssistantTopics, Topics } from "../../contract/topics.ts";
import { collectRetained, type Message } from "../../mqtt/wire.ts";
import type { HostConnection } from "../bus/host-connection.ts";
import type { WorkerRecord } from "../runners/records.ts";
import { Announcer, isSame, type Trace, Trail, trailFile } from "./announcer.ts";
import { type Described, readDescription } from "./described.ts";
import { type Device, Devices, ownerOf } from "./entities.ts";

export interface HomeAssistantOptions {
  settings: { homeAssistant: { enabled: boolean; prefix: string }; data: string };
  topics: Topics;
  version: string;
  log: Logger;
  clock: Clock;
  hostConnection: HostConnection;
  /** All that this host has, as they are now. */
  workers: () => WorkerRecord[];
  lockedOut: () => string[];
}

/** How long the broker has to send what it retains. */
const COLLECT_MS = 1_000;
/** What changes within this time is told in one go. */
const GATHER_MS = 200;
/** Strangers may publish any description. */
const MOST_BOARDS = 1_000;

/** Tells Home Assistant of this host, its workers and the boards, and takes back what is gone. */
export class HomeAssistant {
  readonly #devices: Devices;
  readonly #trail: Trail;
  readonly #ours: Trace;
  readonly #described = new Map<string, Described>();
  #announcer: Announcer | undefined;
  /** What was last said of them. */
  #lockOuts: string | undefined;
  #updating = false;
  #stopped = false;

  constructor(private readonly options: HomeAssistantOptions) {
    const { topics, version, settings, log } = options;
    this.#devices = new Devices(topics, version);
    this.#trail = new Trail(trailFile(settings), log);
    this.#ours = { discovery: settings.homeAssistant.prefix, prefix: topics.prefix, name: topics.hostName };
  }

  /** Takes back what is no longer to be told, and tells the rest if it is to. To be called when all workers are known. */
  async start(): Promise<void> {
    const { enabled } = this.options.settings.homeAssistant;
    const traces = (await this.#trail.read()).filter((trace) => !isSame(trace, this.#ours) || !enabled);
    const told = enabled ? [this.#ours] : [];
    // Before anything is published that somebody would have to take back.
    await this.#trail.write([...traces, ...told]);
    const [kept] = await Promise.all([
      Promise.all(traces.map(async (trace) => ((await this.#takeBack(trace)) ? [] : [trace]))),
      enabled ? this.#open() : undefined,
    ]);
    if (traces.length === 0) return;
    await this.#trail.write([...kept.flat(), ...told]);
    this.options.log.info("took back what Home Assistant was told under other settings");
  }

  stop(): void {
    this.#stopped = true;
  }

  /** To be called whenever a worker has come, gone or changed, or somebody was locked out. */
  update(): void {
    if (this.#updating || this.#stopped || !this.#announcer) return;
    this.#updating = true;
    this.options.clock.after(GATHER_MS, () => {
      this.#updating = false;
      this.#tell();
    });
  }

  async #open(): Promise<void> {
    const { hostConnection, topics, clock } = this.options;
    const discovery = new HomeAssistantTopics(this.#ours.discovery);
    const announcer = new Announcer({ hostConnection, discovery, owner: this.#devices.owner });
    await announcer.start();
    await hostConnection.subscribe(topics.descriptions, (message) => this.#hear(message));
    await hostConnection.subscribe(topics.lockOuts, ({ payload }) => {
      if (decodeText(payload) === this.#lockOuts) return;
      // Somebody has cleared or overwritten it.
      this.#lockOuts = undefined;
      this.update();
    });
    let greeting = false;
    await hostConnection.subscribe(discovery.birth, ({ payload, retain }) => {
      if (retain || greeting || decodeText(payload) !== "online") return;
      greeting = true;
      clock.after(GATHER_MS, () => {
        greeting = false;
        if (!this.#stopped) announcer.repeat();
      });
    });
    await delay(clock, COLLECT_MS);
    this.#announcer = announcer;
    this.#tell();
  }

  #hear({ topic, payload }: Message): void {
    const { topics } = this.options;
    const id = topics.idOf(topic);
    if (id === undefined || faultOfId(id, topics.hostName) !== undefined) return;
    if (payload.length === 0) this.#described.delete(id);
    else this.#take(id, payload);
    this.update();
  }

  #take(id: string, payload: Uint8Array): void {
    const { workers, hostConnection } = this.options;
    const isMore = !this.#described.has(id) && this.#described.size >= MOST_BOARDS + workers().length;
    const { described, fault } = isMore ? { fault: `there are ${MOST_BOARDS} already` } : readDescription(payload);
    if (described) this.#described.set(id, described);
    if (fault !== undefined) hostConnection.warn(`the description of ${id} is not shown in Home Assistant: ${fault}`);
    if (described?.leftOut)
      hostConnection.warn(`${described.leftOut} of what ${id} describes is not shown in Home Assistant`);
  }

  #tell(): void {
    const { hostConnection, topics, lockedOut } = this.options;
    if (this.#stopped) return;
    const lockOuts = JSON.stringify(lockedOut());
    if (lockOuts !== this.#lockOuts) hostConnection.publish(topics.lockOuts, lockOuts, { qos: 1, retain: true });
    this.#lockOuts = lockOuts;
    this.#announcer?.announce(this.#wanted());
  }

  /** What there is to show, by object id. */
  #wanted(): Map<string, Device> {
    const devices = this.#devices;
    const { hostName } = this.options.topics;
    const wanted = new Map([[devices.objectId(hostName), devices.host()]]);
    for (const record of this.options.workers()) {
      const { id, about } = record.planned;
      const described = this.#described.get(id);
      // One that has just come is shown once it has said what it can do.
      const isNew = described === undefined && !record.over;
      if (record.state === "skipped" || record.idTaken || isNew || faultOfId(id, hostName) !== undefined) continue;
      wanted.set(devices.objectId(id), devices.prop({ id, about, described }));
    }
    for (const [id, described] of this.#described) {
      const objectId = devices.objectId(id);
      if (described.board === undefined || wanted.has(objectId)) continue;
      wanted.set(objectId, devices.prop({ id, about: {}, described }));
    }
    return wanted;
  }

  /** Takes all off the broker that was told under other settings; gives whether that is done. */
  async #takeBack({ discovery, prefix, name }: Trace): Promise<boolean> {
    const { hostConnection, clock } = this.options;
    const topics = new Topics(prefix, name);
    const there = new HomeAssistantTopics(discovery);
    const owner = ownerOf(topics);
    const retained = await collectRetained(hostConnection, there.everyConfig, clock);
    const found = [...retained.keys()].filter((topic) => there.objectIdOf(topic)?.startsWith(owner));
    const done = await Promise.all([...found, topics.lockOuts].map((topic) => hostConnection.takeOff(topic)));
    return done.every(Boolean);
  }
}
