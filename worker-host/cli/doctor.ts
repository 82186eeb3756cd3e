import type { Command } from "commander";
import { WorkerHostError } from "../contract/errors.ts";
import type { Settings } from "../host/settings/settings.ts";
import { type Finding, fail, ok } from "./doctor-checks.ts";
import { type Edges, type Flags, withSettings } from "./options.ts";

/** The command that looks for what is wrong with a setup. */
export function addDoctor(program: Command, edges: Edges): void {
  withSettings(program.command("doctor"), () => true)
    .description("look for what is wrong with this setup, and say what to do; exit 1 if something is")
    .option("--json", "as JSON")
    .addHelpText("after", "\nExample:\n  worker-host doctor --mqtt-host 192.168.1.10")
    .action(async (flags: Flags) => {
      const findings = await examine(flags, edges);
      const healthy = findings.every(({ status }) => status !== "fail");
      if (flags.json === true) edges.say(JSON.stringify({ ok: healthy, findings }, null, 2));
      else for (const finding of findings) edges.say(lineOf(finding));
      edges.exit(healthy ? 0 : 1);
    });
}

async function examine(flags: Flags, edges: Edges): Promise<Finding[]> {
  const machine = await import("./doctor-checks.ts");
  const now = edges.clock.now();
  const first = [machine.lookAtNode(now), machine.lookAtClock(now)];
  const settings = settingsOf(flags, edges);
  if (Array.isArray(settings)) return [...first, ...settings];
  const { lookAtBroker, lookAtPort } = await import("./doctor-checks.ts");
  const host = machine.runningHost(settings.data, now);
  const { health } = settings;
  const [broker, port, props] = await Promise.all([
    lookAtBroker(settings, { ...edges, host }).catch(findingOf("credentials")),
    health ? [await lookAtPort("health", health.port, health.host, host)] : [],
    machine.lookAtProps(settings, edges),
  ]);
  const data = machine.lookAtData(settings.data, now);
  const settled = ok("settings", `they are valid; the prefix is "${settings.prefix}", the name "${settings.name}"`);
  return [...first, settled, ...data, machine.lookAtTemporary(), ...props, ...port, ...broker];
}

/** The settings, or what is wrong with them. */
function settingsOf(flags: Flags, { settingsFrom }: Edges): Settings | Finding[] {
  try {
    return settingsFrom(flags);
  } catch (error) {
    return findingOf("settings")(error);
  }
}

/** What an error says that a person can mend, a line for each fault. */
function findingOf(what: string): (error: unknown) => Finding[] {
  return (error) => {
    if (!(error instanceof WorkerHostError) || error.code !== "invalid_settings") throw error;
    return error.message.split("\n").map((text) => fail(what, text, "mend it; what needs it was not looked at"));
  };
}

function lineOf({ what, status, text, remedy }: Finding): string {
  return `${status.padEnd(5)} ${what.padEnd(12)} ${text}${remedy === undefined ? "" : `: ${remedy}`}`;
}
