import type { Logger } from "pino";
import type { Clock } from "../../base/clock.ts";
import { lanCredentials } from "../access/lan-credentials.ts";
import type { Settings } from "../settings/settings.ts";
import type { EmbeddedBroker } from "./broker.ts";
import { connectionsAllowed } from "./broker-limits.ts";

/** Starts the embedded broker as the settings want it; with `lan`, every client has to show credentials. */
export async function startEmbeddedBroker(
  { data, embedded: { port, lan, ...given } }: Pick<Settings, "data" | "embedded">,
  { log, clock }: { log: Logger; clock: Clock },
): Promise<EmbeddedBroker> {
  const maxConnections = await connectionsAllowed();
  // Loaded only where it is needed: it takes a tenth of a second.
  const { EmbeddedBroker } = await import("./broker.ts");
  const credentials = lan ? { credentials: lanCredentials(data, given) } : {};
  return EmbeddedBroker.start({ port, lan, ...credentials, maxConnections, log, clock });
}
