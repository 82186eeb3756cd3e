/**
 * Sends `ping <n>` at QoS 1 to a prop and waits for its `telemetry/pong`: the one client that measures both a worker and
 * the bare echo client.
 */
export class RoundTrips {
  /** Told of every answer. @type {(text: string) => void} */
  #onPong = () => {};
  #sent = 0;

  /**
   * @param {import("mqtt").MqttClient} client
   * @param {string} id
   */
  constructor(client, id) {
    this.client = client;
    this.id = id;
    const topic = `halloween/${id}/telemetry/pong`;
    client.on("message", (from, payload) => {
      if (from === topic) this.#onPong(payload.toString());
    });
  }

  async start() {
    await this.client.subscribeAsync(`halloween/${this.id}/telemetry/pong`, { qos: 0 });
  }

  /** @returns {Promise<void>} fulfils when the broker has acknowledged it */
  #send() {
    return new Promise((resolve, reject) => {
      this.client.publish(`halloween/${this.id}/cmd`, `ping ${this.#sent++}`, { qos: 1 }, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  /**
   * One in flight.
   *
   * @param {number} count
   * @returns {Promise<number[]>} ms from the publish of each command to the arrival of its telemetry
   */
  async latencies(count) {
    const took = [];
    for (let i = 0; i < count; i++) {
      const expected = String(this.#sent);
      const began = performance.now();
      /** @type {Promise<number>} */
      const answered = new Promise((resolve, reject) => {
        this.#onPong = (text) =>
          text === expected
            ? resolve(performance.now() - began)
            : reject(new Error(`${this.id}: expected ${expected}, got ${text}`));
      });
      const [ms] = await Promise.all([answered, this.#send()]);
      took.push(ms);
    }
    return took;
  }

  /**
   * @param {number} count
   * @param {number} inFlight
   * @returns {Promise<number>} round trips in a second
   */
  async throughput(count, inFlight) {
    const began = performance.now();
    const last = this.#sent + count;
    let answered = 0;
    await new Promise((resolve, reject) => {
      const next = () => {
        if (this.#sent < last) this.#send().catch(reject);
      };
      this.#onPong = () => {
        answered++;
        if (answered === count) resolve(undefined);
        else next();
      };
      for (let i = 0; i < inFlight; i++) next();
    });
    return count / ((performance.now() - began) / 1000);
  }
}
