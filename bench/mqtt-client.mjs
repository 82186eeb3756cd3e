import mqtt from "mqtt";

/**
 * A bare mqtt.js client without Nagle's algorithm, which would hold messages back for up to 44 ms.
 *
 * @param {string} url
 * @param {5 | 4} protocolVersion
 * @returns {Promise<mqtt.MqttClient>}
 */
export async function connectBare(url, protocolVersion) {
  const client = mqtt.connect(url, { protocolVersion, reconnectPeriod: 0, clean: true });
  if (!("setNoDelay" in client.stream) || typeof client.stream.setNoDelay !== "function") {
    throw new Error(`no TCP connection: ${url}`);
  }
  client.stream.setNoDelay(true);
  return new Promise((resolve, reject) => {
    client.once("connect", () => resolve(client));
    client.once("error", reject);
    client.once("close", () => reject(new Error(`${url}: closed`)));
  });
}
