import { BaseWorker, command, duration, type Telemetry, z } from "worker-host";

const COLOURS = new Map([
  ["red", "#FF0000"],
  ["orange", "#FF6000"],
  ["yellow", "#FFD000"],
  ["green", "#00FF00"],
  ["cyan", "#00FFFF"],
  ["blue", "#0000FF"],
  ["purple", "#8000FF"],
  ["white", "#FFFFFF"],
]);

/** `green` or `#00ff00`. */
const colour = z
  .string()
  .transform((text) => COLOURS.get(text.toLowerCase()) ?? text.toUpperCase())
  .refine((text) => /^#[0-9A-F]{6}$/.test(text), {
    error: `expected ${[...COLOURS.keys()].join(", ")}, or such as "#00ff00"`,
  });

const byte = z.number().int().min(0).max(255);

/**
 * An LED strip on a controller with WLED, which speaks MQTT of its own: no board of ours is in it. What is published and
 * heard here is WLED's: https://kno.wled.ge/interfaces/mqtt/
 */
export class Worker extends BaseWorker<z.infer<typeof Worker.config>> {
  static config = z.object({
    topic: z.string().meta({ author: true }).default("wled/strip"),
    flash_ms: duration().default(500),
    max_flash_ms: duration().default(10_000),
  });
  static description = "An LED strip on a controller with WLED";
  static telemetry: Telemetry = {
    brightness: { type: "number", description: "0 to 255", widget: { type: "gauge" } },
    colour: { type: "string", description: "Such as #00FF00" },
    online: { type: "boolean", description: "Whether the controller is there" },
  };

  override async start() {
    await super.start();
    this.state = "off";
    this.describe({ states: ["off", "on"] });
    await Promise.all([
      this.subscribe(`${this.config.topic}/g`, ({ text }) => {
        if (!/^\d+$/.test(text)) return;
        const brightness = Number(text);
        this.telemetry("brightness", brightness);
        this.state = brightness > 0 ? "on" : "off";
      }),
      this.subscribe(`${this.config.topic}/c`, ({ text }) => this.telemetry("colour", text)),
      this.subscribe(`${this.config.topic}/status`, ({ text }) => this.telemetry("online", text === "online")),
    ]);
  }

  // House lights have to come up while all-stop is engaged: light moves nothing.
  @command({ description: "Switch it on, as it was last", safe: true, widget: { type: "button", label: "On" } })
  do_on() {
    return this.publish(this.config.topic, "ON", { safe: true });
  }

  @command({ description: "Switch it off", safe: true, widget: { type: "button", label: "Off" } })
  do_off() {
    this.state = "off";
    return this.publish(this.config.topic, "OFF", { safe: true });
  }

  @command({ description: "End a flash, and switch it off" })
  do_stop() {
    return this.do_off();
  }

  @command({
    description: "Switch it on for a while",
    args: duration()
      .optional()
      .meta({ title: "How long", description: "By its config, flash_ms if left empty, max_flash_ms at most" }),
    mode: "restart",
  })
  async do_flash(ms = this.config.flash_ms) {
    if (ms > this.config.max_flash_ms) throw new RangeError(`at most ${this.config.max_flash_ms} ms, got ${ms}`);
    await this.hold(
      ms,
      () => this.do_on(),
      () => this.do_off(),
    );
  }

  @command({
    description: "Give it a colour, by its name or as #rrggbb",
    args: colour,
    safe: true,
    widget: { type: "colour" },
  })
  do_colour(code: string) {
    return this.publish(`${this.config.topic}/col`, code, { safe: true });
  }

  @command({ description: "Make it as bright as 0 to 255", args: byte, safe: true, widget: { type: "slider" } })
  do_brightness(level: number) {
    return this.publish(this.config.topic, level, { safe: true });
  }

  @command({ description: "Start one of WLED's effects, by its number", args: byte })
  do_effect(number: number) {
    return this.publish(`${this.config.topic}/api`, `FX=${number}`);
  }

  @command({ description: "Load one of the presets that are stored in it", args: z.number().int().min(1).max(250) })
  do_preset(number: number) {
    return this.publish(`${this.config.topic}/api`, `PL=${number}`);
  }
}
