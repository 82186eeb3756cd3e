import { createHash } from "node:crypto";
import { defined } from "../../contract/payload.ts";
import type { Topics } from "../../contract/topics.ts";
import type { Args, Described, DescribedCommand, DescribedValue } from "./described.ts";

/** One entity of a device, in Home Assistant's words. */
export interface Component {
  platform: "button" | "number" | "select" | "switch" | "text" | "sensor" | "binary_sensor";
  unique_id: string;
  name: string;
  [option: string]: unknown;
}

/** All entities of a device, by keys that are the same with each publishing. */
type Components = Record<string, Component>;

/** A command never waits on the broker for who isn't there. */
const SENT = { qos: 1, retain: false } as const;

/** Home Assistant shows no longer state. */
const SHORTENED = "{{ value[:255] }}";

/** Collects a device's entities under ids that no other device has. */
class Entities {
  readonly all: Components = {};

  constructor(
    private readonly objectId: string,
    private readonly topics: Topics,
  ) {}

  /** @param source whose name it is, since a command, a value and we may name something alike */
  add(
    platform: Component["platform"],
    source: "host" | "command" | "value",
    name: string,
    options: Record<string, unknown> & { name: string },
  ): void {
    const key = `${platform}_${source}_${idOf(name)}`;
    this.all[key] = { platform, unique_id: `${this.objectId}_${key}`, ...options };
  }

  /** A button that sends a command. */
  button(id: string, action: string, name: string, args?: unknown, options: object = {}): void {
    this.add("button", "command", action, {
      name,
      command_topic: this.topics.command(id),
      // Home Assistant sends what the template gives; an id has a second delivery refused.
      payload_press: JSON.stringify({ action, ...defined({ args }) }),
      command_template: template(action, args === undefined ? undefined : literal(args)),
      ...SENT,
      ...options,
    });
  }

  /** What one command of a prop can be run with. */
  command(id: string, { action, label, icon, args }: DescribedCommand): void {
    const shown = icon === undefined ? {} : { icon };
    if (args.usual) this.button(id, action, label, args.usual.args, shown);
    if (args.entry) this.#entry(id, action, args.entry, { name: args.usual ? `${label} with` : label, ...shown });
  }

  #entry(id: string, action: string, entry: NonNullable<Args["entry"]>, shown: { name: string }): void {
    const { kind, ...options } = entry;
    const common = { ...shown, command_topic: this.topics.command(id), ...SENT };
    if (kind === "switch") {
      const payload = (args: boolean) => JSON.stringify({ action, args });
      this.add(kind, "command", action, { ...common, payload_on: payload(true), payload_off: payload(false) });
    } else {
      // A number's text is JSON already.
      const args = kind === "number" ? "{{ value }}" : "{{ value | to_json }}";
      this.add(kind, "command", action, { ...common, ...options, command_template: template(action, args) });
    }
  }

  /** One declared telemetry key of a prop. */
  value(id: string, { key, label, icon, type, unit }: DescribedValue): void {
    const topic = this.topics.telemetry(id, key);
    const shown = { name: label, state_topic: topic, ...defined({ icon }) };
    if (type === "boolean") {
      this.add("binary_sensor", "value", key, { ...shown, payload_on: "true", payload_off: "false" });
    } else if (type === "number") {
      const units = unit === undefined ? {} : { unit_of_measurement: unit };
      this.add("sensor", "value", key, { ...shown, state_class: "measurement", ...units });
    } else {
      const attributes = type === "object" ? { json_attributes_topic: topic } : {};
      this.add("sensor", "value", key, { ...shown, value_template: SHORTENED, ...attributes });
    }
  }
}

/** A JSON command as a template; `args` is a template itself. */
function template(action: string, args: string | undefined): string {
  const parts = [
    `"action": ${literal(action)}`,
    ...(args === undefined ? [] : [`"args": ${args}`]),
    '"id": "ha-{{ now().timestamp() }}"',
  ];
  return `{${parts.join(", ")}}`;
}

/** JSON in which a template language finds nothing of its own. */
function literal(value: unknown): string {
  const text = JSON.stringify(value);
  return typeof value === "string"
    ? text.replaceAll(/[^\w "\\.:-]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`)
    : text;
}

/** A name as it may stand in an id of Home Assistant's: itself, or what makes it another than all others. */
export function idOf(name: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(name)) return name;
  return `${name.slice(0, 40).replaceAll(/[^A-Za-z0-9_-]/g, "_")}_${hashOf(name)}`;
}

/** Ten letters that stand for a text. */
function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}

/** The payload of device discovery. */
export interface Device {
  device: {
    identifiers: string[];
    name: string;
    manufacturer: string;
    model?: string;
    sw_version?: string;
    suggested_area?: string;
    via_device?: string;
  };
  origin: { name: string; sw_version: string };
  /** One that is gone has its platform alone, which has Home Assistant remove it. */
  components: Components | Record<string, Component | Pick<Component, "platform">>;
  availability: { topic: string }[];
  availability_mode: "all";
  /** Of what is subscribed to. */
  qos: 1;
}

/** A prop, or a board alone. */
export interface Shown {
  id: string;
  /** What its config says, before it has described itself. */
  about: { name?: string; area?: string };
  described: Described | undefined;
}

const MAKER = "worker-host";

/** Builds what Home Assistant is told of this host's devices. */
export class Devices {
  /** What all object ids of this host begin with. */
  readonly owner: string;

  constructor(
    private readonly topics: Topics,
    private readonly version: string,
  ) {
    this.owner = ownerOf(topics);
  }

  objectId(id: string): string {
    return `${this.owner}${id}`;
  }

  host(): Device {
    const { topics } = this;
    const { hostName } = topics;
    const entities = new Entities(this.objectId(hostName), topics);
    const by = { by: "home_assistant" };
    entities.button(hostName, "all_stop", "All-stop", by, { icon: "mdi:alert-octagon" });
    entities.button(hostName, "all_clear", "All-clear", by, { icon: "mdi:check-circle" });
    entities.add("binary_sensor", "host", "all_stop", {
      name: "All-stop",
      state_topic: topics.allStop,
      payload_on: "engaged",
      payload_off: "clear",
      device_class: "safety",
    });
    entities.add("switch", "host", "show", {
      name: "Show",
      icon: "mdi:drama-masks",
      state_topic: topics.description(hostName),
      value_template: "{{ 'on' if value_json.show is defined else 'off' }}",
      ...setting(topics.command(hostName), ["show", "on"], ["show", "off"]),
    });
    return {
      device: { identifiers: [this.objectId(hostName)], name: hostName, manufacturer: MAKER, sw_version: this.version },
      ...this.#common(entities, [hostName]),
    };
  }

  prop({ id, about, described }: Shown): Device {
    const { topics } = this;
    const { hostName } = topics;
    const entities = new Entities(this.objectId(id), topics);
    entities.add("switch", "host", "lock_out", {
      name: "Lock-out",
      icon: "mdi:lock",
      state_topic: topics.lockOuts,
      value_template: `{{ 'on' if '${id}' in value_json else 'off' }}`,
      ...setting(
        topics.command(hostName),
        ["lock_out", { id, reason: "locked out in Home Assistant" }],
        ["release", id],
      ),
      // Who is offline is locked out all the same.
      availability: [{ topic: topics.availability(hostName) }],
    });
    // A sensor with the device class "enum" needs all its options, and nobody declares them.
    entities.add("sensor", "host", "state", { name: "State", state_topic: topics.state(id) });
    for (const command of described?.commands ?? []) entities.command(id, command);
    for (const value of described?.values ?? []) entities.value(id, value);
    const { name = about.name, area = about.area, kind, board, version } = described ?? {};
    const model = [kind, board].filter((word) => word !== undefined).join(", ");
    return {
      device: {
        identifiers: [this.objectId(id)],
        name: name ?? id,
        manufacturer: MAKER,
        ...(model === "" ? {} : { model }),
        ...defined({ sw_version: version, suggested_area: area }),
        via_device: this.objectId(hostName),
      },
      ...this.#common(entities, [hostName, id]),
    };
  }

  #common(entities: Entities, ids: string[]): Omit<Device, "device"> {
    return {
      origin: { name: MAKER, sw_version: this.version },
      components: entities.all,
      availability: ids.map((id) => ({ topic: this.topics.availability(id) })),
      availability_mode: "all",
      qos: 1,
    };
  }
}

/** What the object ids of one host's devices begin with: other hosts and prefixes on the same broker have other ones. */
export function ownerOf({ prefix, hostName }: Topics): string {
  return `worker_host_${hashOf(JSON.stringify([prefix, hostName]))}_`;
}

/** What a switch sends; sent twice, it changes nothing more. */
function setting(commandTopic: string, on: [string, unknown], off: [string, unknown]): Record<string, unknown> {
  const payload = ([action, args]: [string, unknown]) => JSON.stringify({ action, args });
  return {
    command_topic: commandTopic,
    payload_on: payload(on),
    payload_off: payload(off),
    state_on: "on",
    state_off: "off",
    qos: 1,
    retain: false,
  };
}
