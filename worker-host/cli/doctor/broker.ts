import { type Clock, within } from "../../base/clock.ts";
import { decodeText } from "../../contract/payload.ts";
import { Topics } from "../../contract/topics.ts";
import type { Settings } from "../../host/settings/settings.ts";
import type { Connection } from "../../mqtt/connection.ts";
import { brokerOf, type ClientDependencies, connect, retained } from "../client.ts";
import { type Finding, fail, ok, warn } from "./finding.ts";
import { holderOf, tryPort } from "./machine.ts";

export interface BrokerCheckOptions extends ClientDependencies {
  newId: () => string;
  /** The process of the host that runs on our data folder. */
  host: number | undefined;
}

const ECHO_MS = 2_000;
const SLOW_MS = 200;

/** Tries the broker as a host would use it. What is published is our own, comes back to us, and is obeyed by nobody. */
export async function lookAtBroker(settings: Settings, options: BrokerCheckOptions): Promise<Finding[]> {
  const { clock, host } = options;
  const own = settings.external === undefined;
  if (own && host === undefined)
    return [await lookAtPort("broker", settings.embedded.port, ownAddress(settings), host)];
  if (own && settings.embedded.port === 0) return [ok("broker", "the embedded broker has picked a port by itself")];
  const { url, username } = brokerOf(settings);
  const began = clock.monotonic();
  const client = await connect(settings, options);
  if ("problem" in client) return [unreachable(url, client.problem)];
  const { connection } = client;
  const ms = Math.round(clock.monotonic() - began);
  try {
    const text = `connected to ${url} in ${ms} ms, with MQTT ${connection.protocolVersion === 5 ? "5" : "3.1.1"}`;
    const who = username === undefined ? "a client without a user name" : `user "${username}"`;
    return [
      ok("broker", text),
      ok("credentials", `the broker lets ${who} in`),
      ...(await lookAtRights(connection, settings, who, options)),
      await lookAtName(connection, settings, options),
    ];
  } finally {
    await connection.stop();
  }
}

/** What the embedded broker would be opened at. */
function ownAddress({ embedded: { lan } }: Settings): string | undefined {
  return lan ? undefined : "127.0.0.1";
}

function unreachable(url: string, problem: string): Finding {
  if (problem.includes("wrong or missing credentials")) {
    return fail("credentials", problem, "the broker's password file says whom it knows");
  }
  return fail(
    "broker",
    problem,
    `start the broker at ${url}, or look whether the address, the cable and a firewall are right`,
  );
}

async function lookAtRights(
  connection: Connection,
  { prefix, name }: Settings,
  who: string,
  { clock, newId }: BrokerCheckOptions,
): Promise<Finding[]> {
  const topics = new Topics(prefix, name);
  // Neither is listened to by anybody who would do something for it.
  const tried = [topics.status(name, "doctor"), topics.reply("cli", "doctor")];
  const echoes = await Promise.all(tried.map((topic) => echo(connection, topic, newId(), clock)));
  const slowest = Math.max(...echoes.map(({ ms }) => ms));
  const faults = echoes.flatMap(({ fault, topic }) =>
    fault === undefined
      ? []
      : [fail("rights", `${topic}: ${fault}`, `let ${who} read and write ${prefix}/# in the broker's access list`)],
  );
  if (faults.length > 0) return faults;
  const text = `what is published under ${prefix} comes back, in ${slowest} ms`;
  const slow = warn("rights", text, `more than ${SLOW_MS} ms are felt: look at the network, and the broker's load`);
  return [slowest > SLOW_MS ? slow : ok("rights", text)];
}

/** Publishes a text of our own, and waits until it comes back. A broker may acknowledge, and drop, what it denies. */
async function echo(
  connection: Connection,
  topic: string,
  text: string,
  clock: Clock,
): Promise<{ topic: string; ms: number; fault?: string }> {
  let heard = () => {};
  const back = new Promise<void>((resolve) => {
    heard = resolve;
  });
  await connection.subscribe(topic, ({ payload }) => {
    if (decodeText(payload) === text) heard();
  });
  const began = clock.monotonic();
  const sent = connection.publish(topic, text, { qos: 1 });
  // Whichever comes first: a refusal, or the echo.
  const refused = sent.then((result) => (result === "dropped" ? true : back.then(() => false)));
  const outcome = await within(clock, ECHO_MS, refused);
  const ms = Math.round(clock.monotonic() - began);
  if (outcome === undefined) {
    return { topic, ms, fault: "a message to it did not come back: we may not publish there, or not read it" };
  }
  return outcome.value ? { topic, ms, fault: "we may not publish there" } : { topic, ms };
}

/** Whether somebody has our name on the broker. */
async function lookAtName(
  connection: Connection,
  { prefix, name, standby }: Settings,
  { clock, host }: BrokerCheckOptions,
): Promise<Finding> {
  const topics = new Topics(prefix, name);
  const availability = await retained(connection, clock, topics.availability(name));
  const online = availability !== undefined && decodeText(availability) === "online";
  if (!online) return ok("name", `no host is online under the name "${name}"`);
  if (host !== undefined || standby) return ok("name", `a host is online under the name "${name}"`);
  return warn(
    "name",
    `a host is online under the name "${name}", and none runs on this data folder`,
    "one that is started here would end: stop the other, name this one otherwise (--name), or let it wait (--standby)",
  );
}

/** Whether a port that the host opens is free, or is the running host's. */
export async function lookAtPort(
  what: string,
  port: number,
  address: string | undefined,
  host: number | undefined,
): Promise<Finding> {
  if (port === 0) return ok(what, "the host picks a free port by itself");
  const error = await tryPort(port, address);
  if (!error) return ok(what, `port ${port} is free for the host to open`);
  if (error.code !== "EADDRINUSE") {
    const text = `port ${port} can't be opened${address === undefined ? "" : ` at ${address}`}: ${error.message}`;
    return fail(what, text, "take another port, above 1023, or another address");
  }
  const holder = holderOf(port);
  if (host !== undefined && (holder === undefined || holder.pid === host)) {
    return ok(what, `port ${port} is open, by the host that runs`);
  }
  const by = holder ? ` by process ${holder.pid} (${holder.name})` : "";
  const remedy =
    what === "broker"
      ? `if it is a broker, use it: --mqtt-host 127.0.0.1 --mqtt-port ${port}; else end it, or take another port (--broker-port)`
      : "end it, or take another port (--health-port)";
  return fail(what, `port ${port} is in use${by}`, remedy);
}
