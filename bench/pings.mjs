/**
 * Whom to ping.
 *
 * @typedef {object} Target
 * @property {readonly string[]} ids by turns
 * @property {"ping" | "ping_sync"} [action] `ping` if not given
 * @property {0 | 1} [qos] of the command; 1 if not given. The answer is always at QoS 0
 */

const ANSWERS = "halloween/+/telemetry/pong";
/** An answer that takes so long is none. */
const ANSWER_MS = 20_000;

/** Sends pings to workers and to bare clients, and waits for their answers: the one client that measures both. */
export class Pings {
  /** Told of each answer. @type {(id: string, text: string) => void} */
  #onPong = () => {};
  #sent = 0;

  /** @param {import("mqtt").MqttClient} client */
  constructor(client) {
    this.client = client;
    client.on("message", (topic, payload) => {
      if (topic.endsWith("/telemetry/pong")) this.#onPong(String(topic.split("/")[1]), payload.toString());
    });
  }

  /** @param {import("mqtt").MqttClient} client */
  static async on(client) {
    await client.subscribeAsync(ANSWERS, { qos: 0 });
    return new Pings(client);
  }

  /** @param {Target} target @param {(error: Error) => void} failed */
  #send({ ids, action = "ping", qos = 1 }, failed) {
    const number = this.#sent++;
    this.client.publish(`halloween/${ids[number % ids.length]}/cmd`, `${action} ${number}`, { qos }, (error) => {
      if (error) failed(error);
    });
    return String(number);
  }

  /**
   * One in flight.
   *
   * @param {Target} target
   * @param {number} count
   * @returns {Promise<number[]>} ms from the publish of each command to the arrival of its telemetry
   */
  async latencies(target, count) {
    const took = [];
    for (let i = 0; i < count; i++) {
      const began = performance.now();
      await new Promise((resolve, reject) => {
        const expected = this.#send(target, reject);
        this.#onPong = (id, text) => {
          if (text === expected) resolve(undefined);
          else if (target.ids.includes(id)) reject(new Error(`${id}: expected ${expected}, got ${text}`));
        };
      });
      took.push(performance.now() - began);
    }
    return took;
  }

  /**
   * What the broker and this client take for one message, without anybody who answers.
   *
   * @param {number} count
   * @returns {Promise<number[]>} ms from the publish of a message at QoS 1 to its arrival here, at QoS 0
   */
  async ownLatencies(count) {
    const took = [];
    for (let i = 0; i < count; i++) {
      const began = performance.now();
      await new Promise((resolve, reject) => {
        const text = String(this.#sent++);
        this.#onPong = (_, got) => {
          if (got === text) resolve(undefined);
        };
        this.client.publish("halloween/bench/telemetry/pong", text, { qos: 1 }, (error) => {
          if (error) reject(error);
        });
      });
      took.push(performance.now() - began);
    }
    return took;
  }

  /**
   * @param {Target} target
   * @param {number} count
   * @param {number} inFlight
   * @returns {Promise<number>} round trips in a second
   */
  async throughput(target, count, inFlight) {
    const began = performance.now();
    const last = this.#sent + count;
    let answered = 0;
    await new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`${count - answered} of ${count} were not answered`)), ANSWER_MS);
      const next = () => {
        if (this.#sent < last) this.#send(target, reject);
      };
      this.#onPong = () => {
        answered++;
        late.refresh();
        if (answered < count) next();
        else {
          clearTimeout(late);
          resolve(undefined);
        }
      };
      for (let i = 0; i < inFlight; i++) next();
    });
    return count / ((performance.now() - began) / 1000);
  }

  /**
   * Sends `cue` to all at once.
   *
   * @param {ReadonlySet<string>} ids
   * @param {string} topic
   * @returns {Promise<number>} ms until the last of `ids` has answered
   */
  async fanOut(ids, topic) {
    const awaited = new Set(ids);
    const began = performance.now();
    await new Promise((resolve, reject) => {
      this.#onPong = (id) => {
        if (awaited.delete(id) && awaited.size === 0) resolve(undefined);
      };
      this.client.publish(topic, `cue ${this.#sent++}`, { qos: 1 }, (error) => {
        if (error) reject(error);
      });
    });
    return performance.now() - began;
  }
}

/**
 * When the last of `ids` has said something, on the clock of `performance.now()`.
 *
 * @param {import("mqtt").MqttClient} client
 * @param {readonly string[]} ids
 * @param {string} key `status/availability`, `telemetry/stopped`
 * @param {string} [text] what it has to say, if not anything
 * @returns {Promise<number>}
 */
export async function whenAllSaid(client, ids, key, text) {
  const awaited = new Set(ids.map((id) => `halloween/${id}/${key}`));
  const filter = `halloween/+/${key}`;
  const all = new Promise((resolve) => {
    /** @param {string} topic @param {Buffer} payload */
    const look = (topic, payload) => {
      if (text !== undefined && payload.toString() !== text) return;
      if (!awaited.delete(topic) || awaited.size > 0) return;
      client.off("message", look);
      resolve(performance.now());
    };
    client.on("message", look);
  });
  await client.subscribeAsync(filter, { qos: 0 });
  return all;
}

/**
 * Sends a command, and gives what the worker says then.
 *
 * @param {import("mqtt").MqttClient} client
 * @param {string} id
 * @param {string} command
 * @param {string} key of the telemetry
 * @returns {Promise<string>}
 */
export async function ask(client, id, command, key) {
  const topic = `halloween/${id}/telemetry/${key}`;
  await client.subscribeAsync(topic, { qos: 0 });
  const said = new Promise((resolve) => {
    /** @param {string} from @param {Buffer} payload */
    const look = (from, payload) => {
      if (from !== topic) return;
      client.off("message", look);
      resolve(payload.toString());
    };
    client.on("message", look);
  });
  await client.publishAsync(`halloween/${id}/cmd`, command, { qos: 1 });
  return said;
}
