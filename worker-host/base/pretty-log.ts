import { prettyFactory } from "pino-pretty";
import { jsonIn, printable } from "../contract/payload.ts";

/** What has lines of its own. */
const OF_SEVERAL_LINES: ReadonlySet<string> = new Set(["stack"]);

/**
 * Gives a function that makes a line for people, with its end, of a line of the log. What came over the network may
 * stand in it: what a terminal would obey is written out.
 */
export function prettyLog({ colors }: { colors: boolean }): (line: string) => string {
  const pretty = prettyFactory({
    colorize: colors,
    ignore: "pid,hostname,worker",
    translateTime: "SYS:HH:MM:ss",
    messageFormat: "{if worker}{worker}: {end}{msg}",
  });
  return (line) => {
    const said = jsonIn(line);
    if (typeof said !== "object" || said === null || Array.isArray(said)) return `${printable(line.trimEnd())}\n`;
    return pretty(shown(said));
  };
}

function shown(value: unknown, key = ""): unknown {
  if (typeof value === "string") {
    return OF_SEVERAL_LINES.has(key) ? value.split("\n").map(printable).join("\n") : printable(value);
  }
  if (Array.isArray(value)) return value.map((item) => shown(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [printable(name), shown(item, name)]));
}
