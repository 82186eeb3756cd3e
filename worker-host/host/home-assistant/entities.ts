import { createHash } from "node:crypto";
import type { Topics } from "../../contract/topics.ts";
import type { Args } from "./args.ts";
import type { DescribedCommand, DescribedValue } from "./described.ts";

/** One entity of a device, in Home Assistant's words. */
export interface Component {
  platform: "button" | "number" | "select" | "switch" | "text" | "sensor" | "binary_sensor";
  unique_id: string;
  name: string;
  [option: string]: unknown;
}

/** All entities of a device, by keys that are the same with each publishing. */
export type Components = Record<string, Component>;

/** A command never waits on the broker for who isn't there. */
const SENT = { qos: 1, retain: false } as const;

/** Home Assistant shows no longer state. */
const SHORTENED = "{{ value[:255] }}";

/** Collects a device's entities under ids that no other device has. */
export class Entities {
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
      payload_press: JSON.stringify({ action, ...(args === undefined ? {} : { args }) }),
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
    const shown = { name: label, state_topic: topic, ...(icon === undefined ? {} : { icon }) };
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
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 10);
}
