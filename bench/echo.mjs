/**
 * The baseline, in a process of its own as workers are: bare mqtt.js clients. Each answers `ping <text>` and
 * `ping_sync <text>` on its command topic with `<text>` on its telemetry topic, `cue <text>` for all likewise, and `stop`
 * for all on `telemetry/stopped`. After a close it connects again, as mqtt.js does by itself. Its argument is the JSON of
 * `EchoOptions`; what `probe` knows is asked by a message.
 *
 * @typedef {object} EchoOptions
 * @property {string} url
 * @property {5 | 4} version
 * @property {string[]} ids
 * @property {boolean} noDelay
 */
import { connectBare } from "./mqtt-client.mjs";
import { probe } from "./probe.mjs";

/** What workers have as `halloween/broadcast/cmd`. */
const ALL = "bench/all/cmd";
const CONNECT_AT_ONCE = 50;

/** @type {EchoOptions} */
const options = JSON.parse(process.argv[2] ?? "{}");

/** @param {string} id */
async function startOne(id) {
  const { url, version, noDelay } = options;
  const availability = `halloween/${id}/status/availability`;
  const will = { topic: availability, payload: Buffer.from("offline"), qos: /** @type {const} */ (1), retain: true };
  const client = await connectBare(url, version, { noDelay, reconnectPeriod: 1_000, will });
  /** @param {Buffer} payload */
  const ping = async (payload) => {
    const text = payload.toString().slice("ping ".length);
    // As in the worker: the PUBACK goes out first, in a write of its own.
    await undefined;
    client.publish(`halloween/${id}/telemetry/pong`, text, { qos: 0 });
  };
  client.on("message", (topic, payload) => {
    const text = payload.toString();
    if (topic === ALL) {
      const [action, rest = ""] = text.split(" ");
      client.publish(`halloween/${id}/telemetry/${action === "stop" ? "stopped" : "pong"}`, rest, { qos: 0 });
    } else if (text.startsWith("ping_sync ")) {
      client.publish(`halloween/${id}/telemetry/pong`, text.slice("ping_sync ".length), { qos: 0 });
    } else void ping(payload);
  });
  // mqtt.js subscribes again by itself; `online` is the client's own to say.
  client.on("connect", () => client.publish(availability, "online", { qos: 1, retain: true }));
  await client.subscribeAsync(`halloween/${id}/cmd`, { qos: 1 });
  await client.subscribeAsync(ALL, { qos: 1 });
  await client.publishAsync(availability, "online", { qos: 1, retain: true });
}

process.on("message", (what) => {
  void probe(String(what)).then((probed) => process.send?.(probed));
});
process.on("disconnect", () => process.exit());
const ids = [...options.ids];
await Promise.all(
  Array.from({ length: CONNECT_AT_ONCE }, async () => {
    for (let id = ids.shift(); id !== undefined; id = ids.shift()) await startOne(id);
  }),
);
process.send?.("ready");
