import { execFile } from "node:child_process";
import { describeError } from "../contract/errors.ts";
import type { Edges } from "./edges.ts";

/**
 * Tells systemd again and again that this event loop goes round, where the unit asks for that by `WatchdogSec`
 * (sd_watchdog_enabled(3)); by its own program, since Node opens no such socket.
 */
export function feedWatchdog({ env, clock }: Pick<Edges, "env" | "clock">, warn: (text: string) => void): void {
  const everyMs = Number(env.WATCHDOG_USEC) / 1000 / 3;
  if (!env.NOTIFY_SOCKET || !(everyMs > 0)) return;
  let told = false;
  const feed = () => {
    execFile("systemd-notify", ["WATCHDOG=1"], { env }, (error) => {
      if (error && !told) warn(`systemd's watchdog can't be fed, and will end this host: ${describeError(error)}`);
      told = error !== null;
    });
    clock.after(everyMs, feed);
  };
  feed();
}
