import type { Logger } from "pino";
import type { EmbeddedBroker } from "./broker.ts";
import { lanCredentials } from "./lan-credentials.ts";
import type { Settings } from "./settings.ts";

/** Starts the embedded broker as the settings want it; with `lan`, every client has to show credentials. */
export async function startOwnBroker(
  { data, embedded: { port, lan, ...given } }: Pick<Settings, "data" | "embedded">,
  log: Logger,
): Promise<EmbeddedBroker> {
  // Loaded only where it is needed: it takes a tenth of a second.
  const { EmbeddedBroker } = await import("./broker.ts");
  return EmbeddedBroker.start({ port, lan, ...(lan ? { credentials: lanCredentials(data, given) } : {}), log });
}
