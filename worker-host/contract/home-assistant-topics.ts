/** The topics of Home Assistant's MQTT discovery, under its own prefix. */
export class HomeAssistantTopics {
  constructor(readonly prefix: string) {}

  /** What a device is made of; retained. */
  config(objectId: string): string {
    return `${this.prefix}/device/${objectId}/config`;
  }

  /** The filter of all of them, other programs' too. */
  get configs(): string {
    return this.config("+");
  }

  /** The same as another filter: a second subscriber to one and the same isn't sent what is retained. */
  get everyConfig(): string {
    return `${this.prefix}/device/+/+`;
  }

  /** Where Home Assistant says `online` when it has come up. */
  get birth(): string {
    return `${this.prefix}/status`;
  }

  /** The object id in a topic of `configs`. */
  objectIdOf(topic: string): string | undefined {
    const objectId = topic.split("/").at(-2) ?? "";
    return topic === this.config(objectId) ? objectId : undefined;
  }
}
