import type { TestClient } from "./client.ts";

/**
 * Sends a command now and every 250 ms, until `topic` says `text`; gives that text. It is for a receiver that tells by no
 * message when it is ready, and for a broker that drops messages because its queue for the receiver is full.
 */
export async function repeatUntil(
  client: TestClient,
  id: string,
  command: string | object,
  topic: string,
  text?: string | RegExp,
): Promise<string> {
  const send = () => void client.command(id, command);
  send();
  const again = setInterval(send, 250);
  return await client.expect(topic, text).finally(() => clearInterval(again));
}
