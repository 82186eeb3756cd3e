import { z } from "zod";
import { HomeAssistantTopics, Topics } from "../../worker-host/contract/topics.ts";
import { ownerOf } from "../../worker-host/host/home-assistant/entities.ts";
import { TestClient } from "./client.ts";

/** A topic that can be published to, or subscribed to here, since none of ours has a wildcard. */
const topic = z.string().regex(/^[^+#\p{Control}]+$/u);
const template = z.string().min(1);
const availability = z.array(z.strictObject({ topic })).min(1);

const entity = z.strictObject({
  unique_id: z.string().regex(/^[A-Za-z0-9_-]+$/),
  name: z.string().min(1),
  icon: z
    .string()
    .regex(/^[a-z0-9]+:[a-z0-9-]+$/)
    .optional(),
  availability: availability.optional(),
});
/** What is sent: never kept by the broker. */
const sender = entity.extend({ command_topic: topic, qos: z.literal(1), retain: z.literal(false) });
const command = sender.extend({ command_template: template });

/** What Home Assistant requires of each platform, and of what it also takes, what we use. */
const component = z.discriminatedUnion("platform", [
  command.extend({ platform: z.literal("button"), payload_press: z.string() }),
  command
    .extend({ platform: z.literal("number"), min: z.number(), max: z.number(), step: z.number().min(0.001) })
    .refine(({ min, max }) => min < max),
  command.extend({ platform: z.literal("select"), options: z.array(z.string().min(1)).min(1) }),
  command
    .extend({ platform: z.literal("text"), min: z.int().nonnegative(), max: z.int().max(255) })
    .refine(({ min, max }) => min < max),
  sender.extend({
    platform: z.literal("switch"),
    payload_on: z.string(),
    payload_off: z.string(),
    state_topic: topic.optional(),
    state_on: z.string().optional(),
    state_off: z.string().optional(),
    value_template: template.optional(),
  }),
  entity.extend({
    platform: z.literal("sensor"),
    state_topic: topic,
    value_template: template.optional(),
    unit_of_measurement: z.string().optional(),
    state_class: z.literal("measurement").optional(),
    json_attributes_topic: topic.optional(),
  }),
  entity.extend({
    platform: z.literal("binary_sensor"),
    state_topic: topic,
    payload_on: z.string(),
    payload_off: z.string(),
    device_class: z.string().optional(),
  }),
]);

/** One that is to be removed. */
const gone = z.strictObject({ platform: z.string() });

const device = z.strictObject({
  device: z.strictObject({
    identifiers: z.array(z.string()).min(1),
    name: z.string().min(1),
    manufacturer: z.string(),
    model: z.string().optional(),
    sw_version: z.string().optional(),
    suggested_area: z.string().optional(),
    via_device: z.string().optional(),
  }),
  origin: z.strictObject({ name: z.string(), sw_version: z.string() }),
  components: z.record(z.string().regex(/^[A-Za-z0-9_-]+$/), z.union([gone, component])),
  availability,
  availability_mode: z.literal("all"),
  qos: z.literal(1),
});

export type HomeAssistantDevice = z.infer<typeof device>;
export type HomeAssistantEntity = z.infer<typeof component>;

/** A discovery payload as Home Assistant takes it. Throws where it would refuse some of it. */
export function takeDevice(text: string): HomeAssistantDevice {
  return device.parse(JSON.parse(text));
}

/** Which host, under which prefix, is asked about. */
interface Owner {
  hostName?: string;
  topicPrefix?: string;
}

/** Home Assistant, as far as it has to do with us: it takes up what is discovered, and sends what that says. */
export class FakeHomeAssistant {
  #sent = 0;

  private constructor(
    readonly client: TestClient,
    readonly prefix: string,
  ) {}

  static async connect(url: string, prefix = "homeassistant"): Promise<FakeHomeAssistant> {
    return new FakeHomeAssistant(await TestClient.connect(url, [`${prefix}/#`, "halloween/#"]), prefix);
  }

  /** Says that it has come up. */
  async come(): Promise<void> {
    await this.client.publish(`${this.prefix}/status`, "online");
  }

  /** What a new client is sent of all devices: what the broker retains. */
  async retained(): Promise<Map<string, HomeAssistantDevice>> {
    const fresh = await TestClient.connect(this.client.url, [`${this.prefix}/device/+/config`]);
    await fresh.barrier();
    const configs = fresh.seen.all.filter(({ topic: at }) => at.startsWith(`${this.prefix}/device/`));
    await fresh.close();
    return new Map(configs.map(({ topic: at, text }) => [at.split("/").at(-2) ?? "", takeDevice(text)]));
  }

  /** The first config of a prop, of those not handed out yet, that matches. */
  async device(
    id: string,
    matches: (device: HomeAssistantDevice) => boolean = () => true,
    owner: Owner = {},
  ): Promise<HomeAssistantDevice> {
    for (;;) {
      const found = takeDevice(await this.client.expect(this.configOf(id, owner), /./));
      if (matches(found)) return found;
    }
  }

  /** Fulfils when a prop is taken away. */
  async gone(id: string): Promise<void> {
    await this.client.expect(this.configOf(id), "");
  }

  /** The topic on which a prop of that host is described. */
  configOf(id: string, { hostName = "worker_host", topicPrefix = "halloween" }: Owner = {}): string {
    return new HomeAssistantTopics(this.prefix).config(`${ownerOf(new Topics(topicPrefix, hostName))}${id}`);
  }

  async press({ components }: HomeAssistantDevice, name: string): Promise<void> {
    const button = entityOf(components, "button", name);
    await this.#send(button, render(button.command_template, button.payload_press, ++this.#sent));
  }

  async set({ components }: HomeAssistantDevice, platform: "number" | "select" | "text", name: string, value: unknown) {
    const found = entityOf(components, platform, name);
    await this.#send(found, render(found.command_template, value, ++this.#sent));
  }

  async turn({ components }: HomeAssistantDevice, name: string, on: boolean): Promise<void> {
    const found = entityOf(components, "switch", name);
    await this.#send(found, on ? found.payload_on : found.payload_off);
  }

  async #send(
    { command_topic: to, qos, retain }: { command_topic: string; qos: 1; retain: false },
    payload: string,
  ): Promise<void> {
    await this.client.publish(to, payload, { qos, retain });
  }
}

/** A device's entity, by its platform and name. */
export function entityOf<P extends HomeAssistantEntity["platform"]>(
  components: HomeAssistantDevice["components"],
  platform: P,
  name: string,
): Extract<HomeAssistantEntity, { platform: P }> {
  const found = Object.values(components).find(
    (one) => "name" in one && one.platform === platform && one.name === name,
  );
  if (!found) throw new Error(`there is no ${platform} "${name}": ${JSON.stringify(components)}`);
  return found as Extract<HomeAssistantEntity, { platform: P }>;
}

/** A command template, of what we use of its language. */
function render(text: string, value: unknown, now: number): string {
  return text.replaceAll(/\{\{ (.*?) \}\}/g, (whole, expression) => {
    if (expression === "value") return String(value);
    if (expression === "value | to_json") return JSON.stringify(value);
    if (expression === "now().timestamp()") return String(now);
    throw new Error(`unknown in a template: ${whole}`);
  });
}
