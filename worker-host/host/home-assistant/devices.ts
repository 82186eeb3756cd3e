import type { Topics } from "../../contract/topics.ts";
import type { Described } from "./described.ts";
import { type Component, type Components, Entities, hashOf } from "./entities.ts";

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
        ...(version === undefined ? {} : { sw_version: version }),
        ...(area === undefined ? {} : { suggested_area: area }),
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
