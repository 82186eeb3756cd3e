import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { readJsonFile, writeJsonFile } from "../../base/durable-file.ts";
import { describeError } from "../../contract/errors.ts";
import { jsonOf } from "../../contract/payload.ts";
import type { HomeAssistantTopics } from "../../contract/topics.ts";
import type { Message } from "../../mqtt/wire.ts";
import type { HostConnection } from "../bus/host-connection.ts";
import type { Component, Device } from "./entities.ts";

/** Under what this machine has told Home Assistant of devices. */
export interface Trace {
  /** Of its discovery. */
  discovery: string;
  /** Of our own topics. */
  prefix: string;
  /** The host's name. */
  name: string;
}

/** Its file, in the folder for what outlives a restart. */
export function trailFile({ data }: { data: string }): string {
  return join(data, "home_assistant.json");
}

/** Remembers that on disk, so that it can be taken back when the settings say otherwise. */
export class Trail {
  constructor(
    private readonly file: string,
    private readonly log: Logger,
  ) {}

  async read(): Promise<Trace[]> {
    try {
      return (await readJsonFile(this.file, parseTraces)) ?? [];
    } catch (error) {
      this.log.error(
        `${this.file} can't be read (${describeError(error)}): what an earlier start told Home Assistant stays there`,
      );
      return [];
    }
  }

  async write(traces: readonly Trace[]): Promise<void> {
    if (traces.length > 0) await writeJsonFile(this.file, { traces });
    else await rm(this.file, { force: true });
  }
}

export function isSame(one: Trace, other: Trace): boolean {
  return one.discovery === other.discovery && one.prefix === other.prefix && one.name === other.name;
}

function parseTraces(value: unknown): Trace[] {
  const { traces } = (value ?? {}) as { traces?: unknown };
  if (!Array.isArray(traces) || !traces.every(isTrace)) throw new Error("it is not what the host wrote");
  return traces;
}

function isTrace(value: unknown): value is Trace {
  const { discovery, prefix, name } = (value ?? {}) as Partial<Record<string, unknown>>;
  return [discovery, prefix, name].every((part) => typeof part === "string");
}

interface AnnouncerOptions {
  hostConnection: Pick<HostConnection, "subscribe" | "publish" | "takeOff">;
  discovery: HomeAssistantTopics;
  /** What all object ids of ours begin with. */
  owner: string;
}

/** The platforms of entities, by their keys. */
type Platforms = Map<string, Component["platform"]>;

/** A longer config is none of ours. */
const LONGEST_CONFIG = 1_048_576;
/** Strangers may publish under ids like ours. */
const MOST_FOUND = 10_000;
/** So many entities that a device no longer has are named to be removed. */
const MOST_GONE = 200;

const RETAINED = { qos: 1, retain: true } as const;

/** Publishes devices for Home Assistant, and removes the ones and the entities that are no more. */
export class Announcer {
  /** What is published, by object id. */
  readonly #told = new Map<string, string>();
  /** The entities that each device has, or had. */
  readonly #platforms = new Map<string, Platforms>();
  #wanted: ReadonlyMap<string, Device> | undefined;

  constructor(private readonly options: AnnouncerOptions) {}

  /** Begins to see what an earlier start has left on the broker. */
  async start(): Promise<void> {
    const { hostConnection, discovery } = this.options;
    await hostConnection.subscribe(discovery.configs, (message) => this.#found(message));
  }

  /** Publishes what is new or changed, and takes off what isn't among `devices`. */
  announce(devices: ReadonlyMap<string, Device>): void {
    this.#wanted = devices;
    for (const [objectId, device] of devices) {
      const text = JSON.stringify({ ...device, components: this.#withGone(objectId, device) });
      if (this.#told.get(objectId) === text) continue;
      this.#told.set(objectId, text);
      this.#publish(objectId, text);
    }
    for (const objectId of [...this.#told.keys(), ...this.#platforms.keys()])
      if (!devices.has(objectId)) this.#remove(objectId);
  }

  /** Publishes all once more. */
  repeat(): void {
    for (const [objectId, text] of this.#told) this.#publish(objectId, text);
  }

  #publish(objectId: string, text: string): void {
    const { hostConnection, discovery } = this.options;
    hostConnection.publish(discovery.config(objectId), text, RETAINED);
  }

  #remove(objectId: string): void {
    const { hostConnection, discovery } = this.options;
    this.#told.delete(objectId);
    this.#platforms.delete(objectId);
    // While the connection is away, it is found once more with the next one.
    void hostConnection.takeOff(discovery.config(objectId));
  }

  /** A device's entities, and those that it had: left out, they would stay. */
  #withGone(objectId: string, { components }: Device): Device["components"] {
    const platforms: Platforms = this.#platforms.get(objectId) ?? new Map();
    const gone = [...platforms].filter(([key]) => !Object.hasOwn(components, key)).slice(-MOST_GONE);
    const now = Object.entries(components).map(([key, { platform }]) => [key, platform] as const);
    this.#platforms.set(objectId, new Map([...gone, ...now]));
    return { ...components, ...Object.fromEntries(gone.map(([key, platform]) => [key, { platform }])) };
  }

  /** Something retained: an earlier start of ours may have published it, of a device that is no more. */
  #found({ topic, payload, retain }: Message): void {
    const { discovery, owner } = this.options;
    const objectId = discovery.objectIdOf(topic);
    if (!retain || payload.length === 0 || !objectId?.startsWith(owner)) return;
    if (!this.#wanted) {
      if (this.#platforms.size < MOST_FOUND) this.#platforms.set(objectId, platformsIn(payload));
    } else if (!this.#wanted.has(objectId)) {
      this.#remove(objectId);
    }
  }
}

/** Those of a config that an earlier start has published. */
function platformsIn(payload: Uint8Array): Platforms {
  const config = payload.length > LONGEST_CONFIG ? undefined : jsonOf(payload);
  const { components } = (config ?? {}) as { components?: unknown };
  const entries = typeof components === "object" && components !== null ? Object.entries(components) : [];
  return new Map(
    entries.flatMap(([key, component]): [string, Component["platform"]][] => {
      const { platform, unique_id: id } = (component ?? {}) as Partial<Component>;
      return typeof platform === "string" && typeof id === "string" ? [[key, platform]] : [];
    }),
  );
}
