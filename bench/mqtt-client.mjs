import mqtt from "mqtt";

/**
 * A bare mqtt.js client; without Nagle's algorithm, which would hold messages back for up to 44 ms, unless asked for it.
 *
 * @param {string} url
 * @param {5 | 4} protocolVersion
 * @param {{ noDelay?: boolean, reconnectPeriod?: number, will?: NonNullable<mqtt.IClientOptions["will"]> }} [options]
 * @returns {Promise<mqtt.MqttClient>}
 */
export async function connectBare(url, protocolVersion, { noDelay = true, reconnectPeriod = 0, ...others } = {}) {
  const client = mqtt.connect(url, { protocolVersion, reconnectPeriod, clean: true, ...others });
  const setNoDelay = () => {
    if (!("setNoDelay" in client.stream) || typeof client.stream.setNoDelay !== "function") {
      throw new Error(`no TCP connection: ${url}`);
    }
    client.stream.setNoDelay(noDelay);
  };
  client.on("connect", setNoDelay);
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.once("error", reject);
    client.once("close", () => reject(new Error(`${url}: closed`)));
  });
}
