import { type Clock, within } from "../base/clock.ts";
import { deferred } from "../base/promises.ts";
import { readCredentials } from "../host/access/lan-credentials.ts";
import { portInLock } from "../host/data/data-lock.ts";
import type { Settings } from "../host/settings/settings.ts";
import type { Connection } from "../mqtt/connection.ts";
import { ConnectGate } from "../mqtt/mqtt-client.ts";
import type { BrokerOptions } from "../mqtt/wire.ts";

/** How long the command line waits for a broker. */
const CONNECT_MS = 3_000;

export interface ClientDependencies {
  clock: Clock;
  random: () => number;
  /** Told when the connection that was there is lost … */
  onDown?: (text: string) => void;
  /** … and when it is back. */
  onUp?: () => void;
}

/** How long a broker has to send what it retains. */
export const RETAINED_MS = 1_000;

/** Where the broker is that a host with these settings uses: one of its own, or the embedded one of this machine. */
export function brokerOf(settings: Settings, clock: Clock): BrokerOptions {
  if (settings.external) return settings.external;
  const { port: set, isPortGiven, username, password } = settings.embedded;
  // Unless a port is named, that of the host on our data folder: it may have picked one.
  const port = isPortGiven && set !== 0 ? set : (portInLock(settings.data, clock.now()) ?? set);
  const given = username !== undefined && password !== undefined ? { username, password } : undefined;
  return { url: `mqtt://127.0.0.1:${port}`, ...(given ?? readCredentials(settings.data)), protocolVersion: 5 };
}

/** A connection for one command line, or why there is none. */
export async function connect(
  settings: Settings,
  { clock, random, onDown, onUp }: ClientDependencies,
): Promise<{ connection: Connection } | { problem: string }> {
  const broker = brokerOf(settings, clock);
  if (broker.url.endsWith(":0"))
    return {
      problem: `port 0 lets the host pick one, and no host runs on the folder ${settings.data}: give --broker-port the one that its log names`,
    };
  let problem = away(broker.url, `no answer in ${CONNECT_MS / 1000} s`);
  const refusal = deferred();
  let established = false;
  // The MQTT client is the most that a command line loads, and `--help` can do without.
  const [{ Connection }, { silentLog }] = await Promise.all([
    import("../mqtt/connection.ts"),
    import("../base/log.ts"),
  ]);
  const connection = new Connection({
    broker,
    clientId: `${settings.prefix.replaceAll("/", "-")}-cli`,
    log: silentLog(),
    clock,
    random,
    gate: new ConnectGate(),
    onDown: ({ refused, text }, told) => {
      problem = refused ? text : away(broker.url, text.replace(`${broker.url}: `, ""));
      refusal.resolve();
      if (established && told === "new") onDown?.(text);
    },
    onUp: () => {
      if (established) onUp?.();
    },
  });
  await within(clock, CONNECT_MS, Promise.race([connection.start(), refusal.promise]));
  if (connection.connected) {
    established = true;
    return { connection };
  }
  await connection.stop();
  return { problem };
}

/** The first message on a topic, which is what the broker retains there; `undefined` where that is nothing. */
export async function retained(connection: Connection, clock: Clock, topic: string): Promise<Uint8Array | undefined> {
  const first = new Promise<Uint8Array>((resolve) => {
    void connection.subscribe(topic, ({ payload }) => resolve(payload));
  });
  return (await within(clock, RETAINED_MS, first))?.value;
}

function away(url: string, why: string): string {
  return `no broker at ${url} (${why}): start one with "npx worker-host run", or name another with --mqtt-host`;
}
